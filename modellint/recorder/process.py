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
    guard.Guard(journal, may_overwrite=os.environ.get("MODELLINT_ALLOW_WRITES") == "1").install()
    network.Network(journal).install()
    if "MODELLINT_FORKS" in os.environ:
        imports.after("torch", lambda: _watch_forks(journal))
    else:
        _prepare(journal)
        imports.after("torch", lambda: _watch(journal))


def _prepare(journal: Journal) -> None:
    _show_stacks(journal.folder)
    ending.note(journal)


def _watch(journal: Journal) -> None:
    from . import orders

    orders.start(journal)


def _watch_forks(journal: Journal) -> None:
    """This process runs no script any more; each of its forks does, and records into a folder of its own."""
    from . import forks

    forks.serve(os.environ.pop("MODELLINT_FORKS"))
    journal.folder = os.environ["MODELLINT_FOLDER"]
    _prepare(journal)
    _watch(journal)


def _show_stacks(folder: str) -> None:
    """Stacks go to a file when a signal kills the process or the parent asks; that the file exists says "ready"."""
    file = open(os.path.join(folder, "stacks-%d.txt" % os.getpid()), "w")  # noqa: SIM115  it stays open
    faulthandler.enable(file)
    if hasattr(_signal, "SIGRTMIN"):
        faulthandler.register(_signal.SIGRTMIN + 5, file, all_threads=True)
    _open.append(file)


_open: List[Any] = []  # faulthandler writes to the bare descriptor: the file must stay open
