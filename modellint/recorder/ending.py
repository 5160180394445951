"""The end of a process: how the user's code ended it is noted; a probe ends it so that no `except` can swallow that."""

from __future__ import annotations

import atexit
import os
import sys

from . import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, Callable, Dict, List, NoReturn, Optional, Type

    from .write import Journal

PATIENCE = 20.0  # seconds for the other ranks to reach their last step
_leave = os._exit
_flushes: List[Callable[[], None]] = []


def before(flush: Callable[[], None]) -> None:
    """`flush` writes what is known so far; it is called before the process ends in any way that Python can notice."""
    _flushes.append(flush)
    atexit.register(flush)


def at_the_end(act: Callable[[], None]) -> None:
    """`act` is called when the script has come to its end by itself, or by `sys.exit`, and before what `before` was given."""

    def acts() -> None:
        if getattr(sys, "last_value", None) is None:  # else an exception has ended it
            act()

    atexit.register(acts)


def end(together: bool = True) -> None:
    """Waits for the other ranks if `together`, flushes the user's output and leaves without unwinding."""
    if together:
        import threading

        waiting = threading.Thread(target=_meet_other_ranks, daemon=True)
        waiting.start()
        waiting.join(PATIENCE)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # a closed stream has nothing to flush
            continue
    _leave(0)


def flush_all() -> None:
    for flush in _flushes:
        flush()


def note(journal: Journal) -> None:
    """From here on `journal` is told of uncaught exceptions, of sys.exit() and of os._exit()."""
    _note_exceptions(journal)
    sys.exit = _noted(sys.exit, journal)
    os._exit = _noted(os._exit, journal, flush_all)


def describe(error: BaseException, trace: Optional[TracebackType]) -> Dict[str, Any]:
    import traceback

    text = "".join(traceback.format_exception(type(error), error, trace))
    where = frames.place_of_error(error, trace)
    return {"type": type(error).__name__, "message": str(error), "location": where, "traceback": text[-4000:]}


def _note_exceptions(journal: Journal) -> None:
    show = sys.excepthook

    def excepthook(kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        try:
            flush_all()
            journal({"kind": "exception", **describe(error, trace)})
        finally:
            show(kind, error, trace)

    sys.excepthook = excepthook


def note_threads(journal: Callable[[Dict[str, Any]], None], stepping: Callable[[], List[FrameType]]) -> None:
    """From here on `journal` is told of exceptions that end a thread, and whether it was the one that trained."""
    import threading

    show = threading.excepthook

    def excepthook(crash: Any) -> None:
        try:
            if crash.exc_value is not None and crash.exc_type is not SystemExit:
                trained = any(left is frame for left in frames.of_trace(crash.exc_traceback) for frame in stepping())
                journal({"kind": "thread", "trained": trained, **describe(crash.exc_value, crash.exc_traceback)})
        finally:
            show(crash)

    threading.excepthook = excepthook


def _noted(
    leave: Callable[..., NoReturn], journal: Journal, flush: Optional[Callable[[], None]] = None
) -> Callable[..., NoReturn]:
    """`leave`, which notes who called it; not in forked workers, which leave when they are no longer needed."""
    home = os.getpid()

    def noted(status: Any = None) -> NoReturn:
        if os.getpid() == home:
            if flush is not None:
                flush()
            caller = sys._getframe(1)
            code = status if isinstance(status, int) else int(status is not None)
            message = status if isinstance(status, str) else ""
            place, stack = frames.place(caller), frames.user_stack(caller)
            journal({"kind": "exit", "code": code, "message": message, "location": place, "stack": stack})
        leave(status)

    return noted


def _meet_other_ranks() -> None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
