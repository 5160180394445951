"""Training in this process under the recorder, and the report of what was measured; nothing of it stays behind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from . import pipeline
from .assertions import ProbeReport
from .core import config
from .core.diagnostic import Location, Problem
from .core.plain import from_plain
from .core.record import replace
from .measure import merge
from .report import render

if TYPE_CHECKING:
    from types import TracebackType

    import torch

    from .measure.run import Run


def watch(model: torch.nn.Module, *optimizers: torch.optim.Optimizer, steps: int = 10, show: bool = True) -> Recording:
    """Watch your own loop: `with modellint.watch(model, optimizer):` around it, in a script or a notebook.

    The first `steps` steps of each optimizer are measured, also of those that are made within the block; then the loop
    runs on unwatched, and nothing is read from the device any more. What it computes is bitwise the same with and
    without it on the CPU. At the end of the block the report is printed, if `show`; `report()` returns it at any time.

    An exception of the loop goes on its way, and the report tells it; a block without a step is told as a problem of
    the report. Raises UsageError if `pyproject.toml` cannot be read.
    """
    return Recording(steps, model, optimizers, show=show)


class Recording:
    """Watches from the beginning of a `with` block to its end, or to the last of its steps if that comes first."""

    def __init__(
        self,
        steps: int,
        model: torch.nn.Module,
        optimizers: tuple[torch.optim.Optimizer, ...] = (),
        *,
        show: bool = False,
        source: bool = True,
    ) -> None:
        self._steps, self._model, self._optimizers = steps, model, optimizers
        self._show, self._source = show, source
        self._records: list[dict[str, Any]] = []
        self._ended: dict[str, Any] = {}
        self.recorder: Any = None

    def __enter__(self) -> Self:
        from .recorder import session

        self._began, self._records, self._ended = time.monotonic(), [], {}
        self.recorder = session.Recorder(self._records.append, self._steps)
        self.recorder.attach()
        for optimizer in self._optimizers:
            self.recorder.add(optimizer)
        self.recorder.roster.note(self._model, self.recorder.tracks)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        from .recorder import ending

        if error is None:
            self.recorder.leave()
        self.recorder.flush()
        self.recorder.detach()
        self._ended = {"seconds": {"total": time.monotonic() - self._began}}
        if error is not None:
            crash = ending.describe(error, trace)
            place, message = from_plain(Location, crash["location"]), f"{crash['type']}: {crash['message']}"
            self._ended |= {"status": "failed", "problem": Problem(message, place, crash["traceback"])}
        if self._show:
            print(render(self.report(), "full"))

    def report(self) -> ProbeReport:
        """What has been measured until now, judged; raises UsageError if `pyproject.toml` cannot be read."""
        if self.recorder is not None and not self._ended:
            self.recorder.flush()
        settings = config.load(Path())
        report = pipeline.judge(self._run(), settings, source=self._source)
        return ProbeReport(
            report.diagnostics,
            report.passed,
            report.unchecked,
            report.run,
            report.settings,
            report.problem,
            rules=pipeline.chosen(settings),
        )

    def _run(self) -> Run:
        known = {"requested_steps": self._steps, **self._ended}
        if not any(record["kind"] == "step" for record in self._records):
            nothing = Problem("no training step seen: no optimizer has stepped within the block")
            known = {"status": "no step", "problem": nothing, **known}
        run = merge.merge([self._records], **known)
        return replace(run, files=tuple(file for file in run.files if file in self._passed()))

    def _passed(self) -> set[str]:
        """The files that the training ran through: the process, a kernel or pytest, may have executed many others."""
        return {path for record in self._records if record["kind"] == "place" for path, _ in record["stack"]}
