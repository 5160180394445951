"""What happens in every Python process of a run before torch: it notes how the process ends and waits for `import torch`."""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys
import traceback
from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Type

from . import frames, imports
from .write import Journal

_flushes: List[Callable[[], None]] = []


def begin() -> None:
    """Prepares this process from the environment variables MODELLINT_*; imports nothing heavy."""
    journal = Journal(os.environ["MODELLINT_FOLDER"])
    _answer_stack_requests(journal.folder)
    _note_exceptions(journal)
    _note_exits(journal)
    imports.after("torch", lambda: _watch(journal))


def at_end(flush: Callable[[], None]) -> None:
    """`flush` writes what is known so far; it is called before the process ends in any orderly or disorderly way."""
    _flushes.append(flush)
    atexit.register(flush)


def location_of(trace: Optional[TracebackType]) -> Dict[str, Any]:
    """The user's innermost line in a traceback."""
    found = None
    while trace is not None:
        if found is None or frames.user_path(trace.tb_frame.f_code.co_filename) is not None:
            found = trace
        trace = trace.tb_next
    return {"path": frames.shown(found.tb_frame.f_code.co_filename), "line": found.tb_lineno} if found else {}


def describe(kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> Dict[str, Any]:
    where = location_of(trace)
    if isinstance(error, SyntaxError) and error.filename:
        where = {"path": frames.shown(error.filename), "line": error.lineno}
    text = "".join(traceback.format_exception(kind, error, trace))
    return {
        "kind": "exception",
        "type": kind.__name__,
        "message": str(error),
        "location": where,
        "traceback": text[-4000:],
    }


def _watch(journal: Journal) -> None:
    from . import session

    session.start(journal)


def _answer_stack_requests(folder: str) -> None:
    """The parent sends a real-time signal to a process that hangs; its stacks go to a file whose existence says "ready"."""
    import _signal

    signal = getattr(_signal, "SIGRTMIN", None)
    if signal is not None:
        file = open(os.path.join(folder, "stacks-%d.txt" % os.getpid()), "w")
        _flushes.append(file.flush)  # keeps the file open
        faulthandler.register(signal + 5, file, all_threads=True)


def _note_exceptions(journal: Journal) -> None:
    show = sys.excepthook

    def excepthook(kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        try:
            for flush in _flushes:
                flush()
            journal(describe(kind, error, trace))
        finally:
            show(kind, error, trace)

    sys.excepthook = excepthook


def _note_exits(journal: Journal) -> None:
    leave = sys.exit

    def exit(status: Any = None, /) -> None:  # noqa: A001
        stack = [
            [frames.shown(frame.f_code.co_filename), frame.f_lineno]
            for frame in frames.outwards(sys._getframe(1))
            if frames.user_path(frame.f_code.co_filename) is not None
        ]
        code = status if isinstance(status, int) else int(status is not None)
        message = status if isinstance(status, str) else ""
        journal(
            {
                "kind": "exit",
                "code": code,
                "message": message,
                "location": frames.place(sys._getframe(1)),
                "stack": stack,
            }
        )
        leave(status)

    sys.exit = exit  # type: ignore[assignment]
