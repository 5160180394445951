"""What a probed command has come to, from the journals that its processes write while it runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from modellint.core.record import dataclass, replace

STEP = b'{"kind": "step"'
REST, WINDOW = b'{"kind": "rest"', b'{"kind": "window"'
LAST = (b'{"kind": "end"', b'{"kind": "stopped"')


@dataclass(frozen=True, slots=True)
class Progress:
    """The loss is that of the last step, the gradient the largest norm of a parameter's gradient in it."""

    steps: int = 0
    loss: float | None = None
    gradient: float | None = None
    rests: bool = False  # between two windows nothing is recorded
    ended: bool = False  # a process has made all its steps, or was stopped

    @property
    def phase(self) -> str:
        if self.ended:
            return "ending"
        return "unwatched" if self.rests else "training" if self.steps else "starting"


class Journals:
    """Each look reads what files have gained since the last one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: Counter[Path] = Counter()

    def after(self, progress: Progress) -> Progress:
        for line in self._lines():
            progress = _after(progress, line)
        return progress

    def gained(self, file: Path) -> bytes:
        with open(file, "rb") as opened:
            opened.seek(self._read[file])
            text = opened.read()
        self._read[file] += len(text)
        return text

    def _lines(self) -> Iterator[bytes]:
        """Whole ones: what a process is still writing is left for the next look."""
        for file in self._folder.glob("process-*.jsonl"):
            text = self.gained(file)
            whole, _, rest = text.rpartition(b"\n")
            self._read[file] -= len(rest)
            yield from whole.split(b"\n")


def _after(progress: Progress, line: bytes) -> Progress:
    if line.startswith(LAST):
        return replace(progress, ended=True)
    if line.startswith(REST):
        return replace(progress, rests=True)
    if line.startswith(WINDOW):  # an evaluation is a window without steps
        return replace(progress, rests=progress.rests and json.loads(line)["window"]["phase"] == "evaluation")
    if not line.startswith(STEP):
        return progress
    step = json.loads(line)
    norms = [float(norm) for norm in step["gradients"] if norm is not None]
    loss = None if step.get("loss") is None else float(step["loss"])
    return replace(progress, steps=progress.steps + 1, loss=loss, gradient=max(norms, default=None))
