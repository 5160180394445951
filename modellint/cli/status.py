"""One line on the terminal that is overwritten while something runs: what a probe has come to so far."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modellint.core.record import replace

if TYPE_CHECKING:
    from modellint.measure.launch import Options
    from modellint.measure.progress import Progress
    from modellint.measure.run import Run


class StatusLine:
    """Nothing where standard error is no terminal, nor in CI."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty() and not os.environ.get("CI")
        self._text = ""

    def draw(self, text: str) -> None:
        if self._shown and text != self._text:
            self._text = text
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


def launched(command: Sequence[str], options: Options) -> Run:
    """The run of a command, followed on the terminal unless its own output is shown there."""
    from modellint.measure import launch

    line, began = StatusLine(), time.monotonic()
    if options.show_output:
        return launch.launch(command, options)
    try:
        told = replace(options, progress=lambda progress: line.draw(text(progress, time.monotonic() - began)))
        return launch.launch(command, told)
    finally:
        line.draw("")


def text(progress: Progress, seconds: float) -> str:
    """Such as "training: step 4, loss 2.31, largest gradient 0.87 (12 s)"."""
    parts = [
        f"step {progress.steps}" if progress.steps else "",
        f"loss {progress.loss:.4g}" if progress.loss is not None else "",
        f"largest gradient {progress.gradient:.3g}" if progress.gradient is not None else "",
    ]
    return ": ".join(filter(None, (progress.phase, ", ".join(filter(None, parts))))) + f" ({seconds:.0f} s)"
