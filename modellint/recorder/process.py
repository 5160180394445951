"""What happens in each Python process of a run before torch: it prepares to be watched and waits for `import torch`."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself would import enum
import faulthandler
import os

from . import ending, guard, imports, network
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
    network.Network(journal).install()
    imports.after("torch", lambda: _watch(journal))


def _watch(journal: Journal) -> None:
    from . import session

    session.start(journal)


def _show_stacks(folder: str) -> None:
    """Stacks go to a file when a signal kills the process or the parent asks; that the file exists says "ready"."""
    file = open(os.path.join(folder, "stacks-%d.txt" % os.getpid()), "w")  # noqa: SIM115  it stays open
    faulthandler.enable(file)
    if hasattr(_signal, "SIGRTMIN"):
        faulthandler.register(_signal.SIGRTMIN + 5, file, all_threads=True)
    _open.append(file)


_open: List[Any] = []  # faulthandler writes to the bare descriptor: the file must stay open
