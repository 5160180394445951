"""The recorder of a process of a probed command, as its environment variables MODELLINT_* order it."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any, Optional

import torch

from . import ending, inventing, remedy, seeds
from .notes import Write
from .session import Recorder

recorder: Optional[Recorder] = None


def start(write: Write) -> None:
    """Called right after `import torch`."""
    global recorder
    if "MODELLINT_SEED" in os.environ:
        seeds.begin(int(os.environ["MODELLINT_SEED"]))
    if _is_on("INVENT"):
        inventing.begin(write)
    remedy.apply(write, json.loads(os.environ.get("MODELLINT_REMEDY", "[]")))
    recorder = made = Recorder(
        write, _number("STEPS", 10), None if _is_on("FINISH") else ending.end, _number("WINDOWS", 1)
    )
    made.examines = _is_on("EXAMINE", "1")
    if not _is_on("KEEP_COMPILE"):
        torch.cuda.make_graphed_callables = _eager
    else:
        made.records_graph = False
        warnings.filterwarnings("ignore", "Using `torch.compile.* global hooks", UserWarning)  # they are ours
    ending.before(made.flush)
    ending.at_the_end(made.leave)
    ending.note_threads(write, lambda: made.stepping)
    os.register_at_fork(after_in_child=made.forget)
    made.attach()


def _eager(callables: Any, *args: Any, **kwargs: Any) -> Any:
    """In place of graphs, in which nothing is seen: what they would have been made of."""
    return callables


def _is_on(name: str, default: str = "0") -> bool:
    return os.environ.get("MODELLINT_" + name, default) == "1"


def _number(name: str, default: int) -> int:
    return int(os.environ.get("MODELLINT_" + name, default))
