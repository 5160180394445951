"""The probed process and its descendants: started in a session of their own, watched, and ended without orphans."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .launch import Options

LOG = "output.log"
GRACE = 5.0  # seconds: from asking a process to end until killing it; from the first rank's end until that of all
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
        self._began = self._moved = time.monotonic()
        self._read: Counter[Path] = Counter()
        self._steps, self._done_at = 0, 0.0

    def watch(self) -> Ended:
        """Runs the command to its end, to the end of its watched steps, or to a time limit."""
        if shutil.which(self._command[0], path=self._environment.get("PATH")) is None:
            return Ended(not_found=self._command[0])
        with open(self._folder / LOG, "wb") as log:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        try:
            return self._wait(process)
        except KeyboardInterrupt:
            return Ended(interrupted=True)
        finally:
            _end_all(process, self._folder)
            self._look()

    def _wait(self, process: subprocess.Popen[bytes]) -> Ended:
        while process.poll() is None:
            time.sleep(0.05)
            self._look()
            if self._done_at and not self._options.finish and time.monotonic() - self._done_at > GRACE:
                return Ended(code=0)
            limit = self._exceeded()
            if limit:
                self._ask_for_stacks()
                return Ended(hung=limit)
        return Ended(code=process.returncode)

    def _exceeded(self) -> str:
        now, options = time.monotonic(), self._options
        if now - self._began > options.max_seconds:
            return "total"
        if self._done_at:
            return ""
        if not self._steps:
            return "start" if now - self._began > options.start_seconds else ""
        return "step" if now - self._moved > options.step_seconds else ""

    def _look(self) -> None:
        """Counts what the journals have gained since the last look, and shows what the script has printed since."""
        for file in self._folder.glob("process-*.jsonl"):
            text = self._news(file)
            steps = text.count(b'{"kind": "step"')
            if steps:
                self._steps, self._moved = self._steps + steps, time.monotonic()
                if self._options.progress is not None:
                    self._options.progress(self._steps)
            if b'{"kind": "end"' in text or b'{"kind": "stopped"' in text:
                self._done_at = self._done_at or time.monotonic()
        if self._options.show_output:
            sys.stderr.write(self._news(self._folder / LOG).decode(errors="replace"))
            sys.stderr.flush()

    def _news(self, file: Path) -> bytes:
        with open(file, "rb") as opened:
            opened.seek(self._read[file])
            text = opened.read()
        self._read[file] += len(text)
        return text

    def _ask_for_stacks(self) -> None:
        for pid in _ready(self._folder):
            with contextlib.suppress(OSError):
                os.kill(pid, STACK_SIGNAL)
        time.sleep(0.5)


def _end_all(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Ends the command's group, and the ranks of an elastic launch, which have sessions of their own."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        limit = time.monotonic() + GRACE
        _send(process, folder, kind)
        while _alive(process, folder) and time.monotonic() < limit:
            time.sleep(0.05)
    process.wait()


def _send(process: subprocess.Popen[bytes], folder: Path, kind: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, kind)
    for pid in _alive(process, folder):
        with contextlib.suppress(OSError):
            os.kill(pid, kind)


def _alive(process: subprocess.Popen[bytes], folder: Path) -> list[int]:
    process.poll()
    mine = [] if process.returncode is not None else [process.pid]
    return mine + [pid for pid in _ready(folder) if pid != process.pid and _belongs(pid, folder)]


def _ready(folder: Path) -> list[int]:
    """The Python processes of the run: each opens a file for its stacks when it starts."""
    return [int(file.stem.partition("-")[2]) for file in folder.glob("stacks-*.txt")]


def _belongs(pid: int, folder: Path) -> bool:
    """Whether process `pid` still lives and is of this run; where there is no /proc, that it lives must do."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return f"MODELLINT_FOLDER={folder}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
