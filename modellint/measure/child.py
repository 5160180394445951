"""The probed process and its descendants: started in a session of their own, watched, and ended without orphans."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .launch import Options

LOG = "output.log"
GRACE = 5.0  # seconds between asking a process to end and killing it, and for the other ranks after the first has ended
STACK_SIGNAL = getattr(signal, "SIGRTMIN", 0) + 5


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), or why it was ended by us."""

    code: int | None = None
    hung: str = ""  # "start", "step" or "total": the limit that was exceeded
    interrupted: bool = False
    not_found: str = ""


class Child:
    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], options: Options) -> None:
        self._command, self._folder, self._environment, self._options = command, folder, environment, options
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._moved = time.monotonic()
        self._first_step: float | None = None
        self._read: dict[Path, int] = {}
        self._shown = 0
        self._steps, self._ended_at = 0, 0.0

    def watch(self) -> Ended:
        """Runs the command to its end, to the end of its watched steps, or to a time limit."""
        if shutil.which(self._command[0], path=self._environment.get("PATH")) is None:
            return Ended(not_found=self._command[0])
        with open(self._folder / LOG, "wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        try:
            return self._wait(self._process)
        except KeyboardInterrupt:
            return Ended(interrupted=True)
        finally:
            self._end_all(self._process)
            self._show_output()

    def seconds(self) -> dict[str, float]:
        first = self._first_step
        return {} if first is None else {"start": first - self._began, "steps": self._moved - first}

    def _wait(self, process: subprocess.Popen[bytes]) -> Ended:
        while process.poll() is None:
            time.sleep(0.05)
            self._follow()
            self._show_output()
            if self._ended_at and time.monotonic() - self._ended_at > GRACE:
                return Ended(code=0)
            exceeded = self._exceeded()
            if exceeded:
                self._ask_for_stacks()
                return Ended(hung=exceeded)
        self._follow()
        return Ended(code=process.returncode)

    def _exceeded(self) -> str:
        now, options = time.monotonic(), self._options
        if now - self._began > options.max_seconds:
            return "total"
        if self._first_step is None:
            return "start" if now - self._began > options.start_seconds else ""
        if options.finish and self._ended_at:
            return ""
        return "step" if now - self._moved > options.step_seconds else ""

    def _follow(self) -> None:
        """Counts the steps in what the journals have gained since the last look."""
        for file in self._folder.glob("process-*.jsonl"):
            with open(file, "rb") as journal:
                journal.seek(self._read.get(file, 0))
                text = journal.read()
            self._read[file] = self._read.get(file, 0) + len(text)
            if b'"kind": "step"' in text:
                self._moved = time.monotonic()
                self._first_step = self._first_step or self._moved
            if b'{"kind": "end"' in text or b'{"kind": "stopped"' in text:
                self._ended_at = self._ended_at or (float("inf") if self._options.finish else time.monotonic())

    def _show_output(self) -> None:
        if self._options.show_output:
            with open(self._folder / LOG, "rb") as log:
                log.seek(self._shown)
                text = log.read()
            self._shown += len(text)
            sys.stderr.write(text.decode(errors="replace"))
            sys.stderr.flush()

    def _ask_for_stacks(self) -> None:
        for file in self._folder.glob("stacks-*.txt"):
            with contextlib.suppress(OSError):
                os.kill(int(file.stem.partition("-")[2]), STACK_SIGNAL)
        time.sleep(0.5)

    def _end_all(self, process: subprocess.Popen[bytes]) -> None:
        for kind, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 1.0)):
            self._signal(process, kind)
            limit = time.monotonic() + patience
            while time.monotonic() < limit and any(True for _ in self._alive(process)):
                time.sleep(0.05)
        process.wait()

    def _signal(self, process: subprocess.Popen[bytes], kind: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        for pid in self._alive(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)

    def _alive(self, process: subprocess.Popen[bytes]) -> Iterator[int]:
        """The processes of this run that still live: ranks of an elastic launch have sessions of their own."""
        mark = f"MODELLINT_FOLDER={self._folder}".encode()
        process.poll()
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in entry.read_bytes().split(b"\0"):
                    yield int(entry.parent.name)
