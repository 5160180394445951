"""The signals that ask us to end: heard as an interrupt while a command runs, and not at all while we clean up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def as_interrupts() -> contextlib.AbstractContextManager[None]:
    """A scheduler's SIGTERM ends a probe as Ctrl-C does: with a report, and without processes that stay behind."""
    return _handled(signal.default_int_handler)


def ignored() -> contextlib.AbstractContextManager[None]:
    return _handled(signal.SIG_IGN)


@contextlib.contextmanager
def _handled(handler: Callable[..., Any] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, handler) for number in ENDING]
    try:
        yield
    finally:
        for number, old in zip(ENDING, before, strict=True):
            signal.signal(number, signal.SIG_DFL if old is None else old)
