"""Weights that stay at the random values that they were made with, where nothing says that they are meant to."""

from __future__ import annotations

import re
from collections.abc import Iterable

from modellint.core.pattern import pattern

from .cast import Parameter
from .run import Run

# Networks that are meant to stay as they were made, or that follow another one.
MEANT = pattern(
    r"rand|target|teacher|ema|momentum|copy|ref|prior|shadow|old|prev|loss|crit|disc|pos|fourier|reservoir", re.I
)


def as_made(run: Run, candidates: Iterable[Parameter]) -> list[Parameter]:
    """Those without a trained twin of the same shape, and without a name that says that they are meant to stay."""
    trained = {(_last(each), each.shape) for each in run.parameters if each.optimizer is not None}
    stuck = [each for each in candidates if each.fresh and (_last(each), each.shape) not in trained]
    return [each for each in stuck if not MEANT.search(each.name)]


def _last(parameter: Parameter) -> tuple[str, ...]:
    return tuple(parameter.name.split(".")[-2:])
