"""The processes of a run: found even when they left its group, and ended so that none stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE = 5.0  # seconds between asking a process to end and killing it
STACK_SIGNAL = getattr(signal, "SIGRTMIN", 0) + 5


class Processes:
    """A command and everything that it started; each Python process has left a file for its stacks in `folder`."""

    def __init__(self, command: subprocess.Popen[bytes], folder: Path) -> None:
        self._command, self._folder = command, folder

    def show_stacks(self) -> None:
        """Asks each process to write where it is; it does so even within a call that never returns."""
        self._send(STACK_SIGNAL, self._ready())
        time.sleep(0.5)

    def end(self) -> None:
        """Ends the command's group, and the ranks of an elastic launch, which have sessions of their own."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            limit = time.monotonic() + GRACE
            with contextlib.suppress(OSError):
                os.killpg(self._command.pid, number)
            self._send(number, self._alive())
            while self._alive() and time.monotonic() < limit:
                time.sleep(0.05)
        self._command.wait()

    def _send(self, number: int, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    def _alive(self) -> list[int]:
        own = [self._command.pid] if self._command.poll() is None else []
        return own + [pid for pid in self._ready() if pid != self._command.pid and self._belongs(pid)]

    def _ready(self) -> list[int]:
        return [int(file.stem.partition("-")[2]) for file in self._folder.glob("stacks-*.txt")]

    def _belongs(self, pid: int) -> bool:
        """Whether `pid` still lives and is of this run; where there is no /proc, that it lives must do."""
        if sys.platform == "linux":
            mark = f"MODELLINT_FOLDER={self._folder}".encode()
            with contextlib.suppress(OSError):
                return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            return False
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return True
        return False
