"""The end of a watched process, which no `except BaseException` of the user can swallow."""

from __future__ import annotations

import os
import sys
import threading

import torch

PATIENCE = 20.0  # seconds for the other ranks to reach their last step


def end(reason: str) -> None:
    """Waits for the other ranks, flushes the user's output and leaves without unwinding."""
    waiting = threading.Thread(target=_meet_other_ranks, daemon=True)
    waiting.start()
    waiting.join(PATIENCE)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S110, PERF203  a closed stream has nothing to flush
            pass
    os._exit(0)


def _meet_other_ranks() -> None:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
