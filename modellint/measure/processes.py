"""The processes of a run: found even when they left its group, and ended so that none stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

GRACE = 5.0  # seconds between asking a process to end and killing it
STACK_SIGNAL = getattr(signal, "SIGRTMIN", 0) + 5


class Command(Protocol):
    """A process as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


class Processes:
    """A command and everything that it started; each Python process has left a file for its stacks in `folder`."""

    def __init__(self, command: Command, folder: Path) -> None:
        self._command, self._folder = command, folder

    def show_stacks(self) -> None:
        """Asks each process to write where it is; it does so even within a call that never returns."""
        self._send(STACK_SIGNAL, self.ready().intersection(self.alive()))
        time.sleep(0.5)

    def end(self) -> None:
        """Ends the command's group, the ranks of an elastic launch, which have sessions of their own, and workers."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            limit = time.monotonic() + GRACE
            self._send_group(number)
            self._send(number, self.alive())
            while (alive := self.alive()) and time.monotonic() < limit:
                if number == signal.SIGKILL:  # what was being started meanwhile
                    self._send(number, alive)
                time.sleep(0.05)
        self._command.wait()

    def memory(self, pids: Iterable[int]) -> int:
        """Bytes that lie in memory, over all of `pids`; 0 where there is no /proc to tell."""
        return sum(map(_resident, pids))

    def alive(self) -> list[int]:
        own = [self._command.pid] if self._command.poll() is None else []
        return own + [pid for pid in self._others() if pid != self._command.pid]

    def ready(self) -> set[int]:
        """Those that have taken up the recorder, dead or alive."""
        return {int(file.stem.partition("-")[2]) for file in self._folder.glob("stacks-*.txt")}

    def _send_group(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._command.pid, number)

    def _send(self, number: int, pids: Iterable[int]) -> None:
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    def _others(self) -> Iterator[int]:
        """A process inherits the environment; where that cannot be read, those that took up the recorder must do."""
        if sys.platform != "linux":
            yield from filter(_exists, self.ready())
            return
        mark = f"MODELLINT_FOLDER={self._folder}\0".encode()
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{entry}/environ").read_bytes():
                    yield int(entry)


def _exists(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return True
    return False


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
