"""A sandbox for a command: all that it writes lands beside the user's files, is listed, and thrown away."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from modellint.core.errors import UsageError

from . import layer

ENTER = Path(__file__).resolve().parent / "enter.py"
LIVE = ("/proc", "/sys", "/dev", "/run", "/tmp")  # devices, sockets and what is temporary: as it is
MOUNTED = Path("/proc/self/mountinfo")


class Sandbox:
    """Raises UsageError where the system does not allow it. `through`: folders whose contents stay."""

    def __init__(self, through: Iterable[Path]) -> None:
        if sys.platform != "linux":
            raise UsageError("--sandbox needs Linux: leave it out, and the probe stops before it overwrites a file")
        self._store = Path(tempfile.mkdtemp(prefix="modellint-sandbox-"))
        self._layers = {root: self._store / str(number) for number, root in enumerate(_roots())}
        for store in self._layers.values():
            for name in ("upper", "work"):
                (store / name).mkdir(parents=True)
        self._plan = self._store / "plan.json"
        layers = {root: str(store) for root, store in self._layers.items()}
        self._plan.write_text(json.dumps({"layers": layers, "open": [str(path) for path in through]}))
        self._try()

    def command(self, command: Sequence[str] = ()) -> tuple[str, ...]:
        return (sys.executable, "-I", "-S", str(ENTER), str(self._plan), *command)

    def discarded(self) -> dict[str, str]:
        """What would have been "created", "changed" or "deleted", by its path."""
        found = (layer.changes(store / "upper", Path(root)) for root, store in self._layers.items())
        return {os.path.relpath(path): what for changes in found for path, what in changes}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for work in self._store.glob("*/work/*"):
            work.chmod(0o700)  # the kernel's own folder may not be read
        shutil.rmtree(self._store, ignore_errors=True)

    def _try(self) -> None:
        tried = subprocess.run(self.command(), capture_output=True, text=True)
        if tried.returncode:
            self.__exit__()
            why = (tried.stderr.strip().splitlines() or ["the process ended"])[-1]
            raise UsageError(
                f"--sandbox: this system does not allow it ({why}); without it the probe stops before it overwrites a file"
            )


def _roots() -> list[str]:
    """Folders that each get a layer, outer ones first: those of the root, all that is mounted below, and the current one."""
    mounted = (_plain(line.split()[4]) for line in MOUNTED.read_text().splitlines())
    top = (f"/{name}" for name in os.listdir("/"))
    here = os.getcwd()
    found = {path for path in (*top, *mounted) if path != "/" and not _is_live(path) and not os.path.islink(path)}
    return sorted({*found, here} if _is_live(here) else found)


def _is_live(path: str) -> bool:
    return any(path == live or path.startswith(f"{live}/") for live in LIVE)


def _plain(path: str) -> str:
    """Spaces and the like are octal numbers there."""
    return re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), path)
