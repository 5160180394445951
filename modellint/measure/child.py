"""The probed command while it runs: started in a session of its own, followed step by step, held to its limits."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modellint.core.record import dataclass, replace

from . import signals
from .processes import Command, Processes
from .progress import Journals, Progress
from .vitals import Vitals

if TYPE_CHECKING:
    from .launch import Options
    from .sandbox import Sandbox

LOG = "output.log"
PATIENCE = 5.0  # seconds from the end of the first rank until that of all
UNWATCHED = 30.0  # seconds that a Python without the recorder may run while none has it
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), or why it was ended by us."""

    code: int | None = None
    hung: str = ""  # "start", "step", "total", "memory" or "unwatched": the limit that was exceeded
    interrupted: bool = False
    not_found: str = ""
    memory: int = 0  # bytes, the most that all processes held together when they were looked at
    starved: bool = False  # the kernel killed a process for want of memory
    unwatched: str = ""  # why a Python process could not be watched


class Child:
    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        options: Options,
        sandbox: Sandbox | None = None,
    ) -> None:
        self._command, self._folder, self._environment, self._options = command, folder, environment, options
        self._sandbox = sandbox
        self._began = self._moved = time.monotonic()
        self._journals, self._progress = Journals(folder), Progress()
        self._done_at = 0.0

    def watch(self) -> Ended:
        """Runs the command to its end, to the end of its watched steps, or to a limit of time or memory."""
        if shutil.which(self._command[0], path=self._environment.get("PATH")) is None:
            return Ended(not_found=self._command[0])
        with signals.as_interrupts():
            command = self._start()
            processes = Processes(command, self._folder)
            vitals = Vitals(processes)
            try:
                ended = self._wait(command, processes, vitals)
            except KeyboardInterrupt:
                ended = Ended(interrupted=True)
            finally:
                with signals.ignored():
                    processes.end()
                    self._look()
        return replace(ended, memory=vitals.memory, starved=vitals.starved, unwatched=vitals.unwatched)

    def _start(self) -> Command:
        if self._options.start is not None:
            return self._options.start(self._environment, self._folder / LOG)
        with open(self._folder / LOG, "wb") as log:
            return subprocess.Popen(
                self._command if self._sandbox is None else self._sandbox.command(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def _wait(self, command: Command, processes: Processes, vitals: Vitals) -> Ended:
        while command.poll() is None:
            time.sleep(0.05)
            self._look()
            vitals.look()
            if self._options.progress is not None:
                self._options.progress(self._progress)
            if self._done_at and not self._options.finish and time.monotonic() - self._done_at > PATIENCE:
                return Ended(code=0)
            limit = self._late() or self._sick(vitals)
            if limit:
                processes.show_stacks()
                return Ended(hung=limit)
        return Ended(code=command.returncode)

    def _late(self) -> str:
        now, options = time.monotonic(), self._options
        if now - self._began > options.max_seconds:
            return "total"
        if self._done_at or self._progress.rests:
            return ""
        if not self._progress.steps:
            return "start" if now - self._began > options.start_seconds else ""
        return "step" if now - self._moved > options.step_seconds else ""

    def _sick(self, vitals: Vitals) -> str:
        if self._options.max_memory is not None and vitals.memory > self._options.max_memory * GIB:
            return "memory"
        return "unwatched" if vitals.alone > UNWATCHED else ""

    def _look(self) -> None:
        """What the journals have gained since the last look, and what the script has printed since."""
        before, self._progress = self._progress, self._journals.after(self._progress)
        if self._progress != before:
            self._moved = time.monotonic()
        if self._progress.ended:
            self._done_at = self._done_at or time.monotonic()
        if self._options.show_output:
            sys.stderr.write(self._journals.gained(self._folder / LOG).decode(errors="replace"))
            sys.stderr.flush()
