"""The probed command while it runs: started in a session of its own, followed step by step, held to its time limits."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modellint.core.record import dataclass

from .processes import Processes

if TYPE_CHECKING:
    from .launch import Options

LOG = "output.log"
PATIENCE = 5.0  # seconds from the end of the first rank until that of all


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
        self._rests = False  # between two windows nothing is recorded

    def watch(self) -> Ended:
        """Runs the command to its end, to the end of its watched steps, or to a time limit."""
        if shutil.which(self._command[0], path=self._environment.get("PATH")) is None:
            return Ended(not_found=self._command[0])
        command = self._start()
        processes = Processes(command, self._folder)
        try:
            return self._wait(command, processes)
        except KeyboardInterrupt:
            return Ended(interrupted=True)
        finally:
            processes.end()
            self._look()

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._folder / LOG, "wb") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def _wait(self, command: subprocess.Popen[bytes], processes: Processes) -> Ended:
        while command.poll() is None:
            time.sleep(0.05)
            self._look()
            if self._done_at and not self._options.finish and time.monotonic() - self._done_at > PATIENCE:
                return Ended(code=0)
            limit = self._exceeded()
            if limit:
                processes.show_stacks()
                return Ended(hung=limit)
        return Ended(code=command.returncode)

    def _exceeded(self) -> str:
        now, options = time.monotonic(), self._options
        if now - self._began > options.max_seconds:
            return "total"
        if self._done_at or self._rests:
            return ""
        if not self._steps:
            return "start" if now - self._began > options.start_seconds else ""
        return "step" if now - self._moved > options.step_seconds else ""

    def _look(self) -> None:
        """Counts what the journals have gained since the last look, and shows what the script has printed since."""
        for file in self._folder.glob("process-*.jsonl"):
            self._count(self._news(file))
        if self._options.show_output:
            sys.stderr.write(self._news(self._folder / LOG).decode(errors="replace"))
            sys.stderr.flush()

    def _count(self, text: bytes) -> None:
        steps = text.count(b'{"kind": "step"')
        if steps:
            self._steps, self._moved = self._steps + steps, time.monotonic()
            if self._options.progress is not None:
                self._options.progress(self._steps)
        if b'{"kind": "rest"' in text or b'{"kind": "window"' in text:
            self._rests, self._moved = (
                text.rfind(b'{"kind": "rest"') > text.rfind(b'{"kind": "window"'),
                time.monotonic(),
            )
        if b'{"kind": "end"' in text or b'{"kind": "stopped"' in text:
            self._done_at = self._done_at or time.monotonic()

    def _news(self, file: Path) -> bytes:
        with open(file, "rb") as opened:
            opened.seek(self._read[file])
            text = opened.read()
        self._read[file] += len(text)
        return text
