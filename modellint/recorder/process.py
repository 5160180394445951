"""What happens in every Python process of a run before torch: it prepares to say where it is, and waits for `import torch`."""

from __future__ import annotations

import faulthandler
import os

import _signal  # signal would import enum

from . import ending, guard, imports
from .write import Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List


def begin() -> None:
    """Prepares this process from the environment variables MODELLINT_*; imports nothing heavy."""
    journal = Journal(os.environ["MODELLINT_FOLDER"])
    _show_stacks(journal.folder)
    ending.note(journal)
    guard.Guard(journal, may_overwrite=os.environ.get("MODELLINT_ALLOW_WRITES") == "1").install()
    imports.after("torch", lambda: _watch(journal))


def _watch(journal: Journal) -> None:
    from . import session

    session.start(journal)


def _show_stacks(folder: str) -> None:
    """Stacks go to a file when the process dies of a signal and when the parent asks; that the file exists says "ready"."""
    file = open(os.path.join(folder, "stacks-%d.txt" % os.getpid()), "w")
    faulthandler.enable(file)
    if hasattr(_signal, "SIGRTMIN"):
        faulthandler.register(_signal.SIGRTMIN + 5, file, all_threads=True)
    _open.append(file)


_open: List[Any] = []  # faulthandler writes to the bare descriptor: the file must stay open
