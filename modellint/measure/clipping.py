"""What the gradient clips of a run were asked for and what the optimizer then applied: the ground of the clip rules."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint.core.diagnostic import Evidence, Location

from .run import Clip, Run, Step

TOLERANCE = 1.01  # 0 false alarms in 198 healthy runs


def calls(run: Run, place: Location) -> Iterator[tuple[Step, Clip]]:
    """The calls that were made at `place`; all, where it has no line."""
    for step in run.steps:
        for clip in step.clips:
            if clip.bound is not None and place.line in (None, clip.location.line):
                yield step, clip


def applied(run: Run, place: Location) -> Evidence | None:
    """Whether the optimizer applied larger gradients than the clip at `place` allows; None if that was not measured."""
    pairs = [(s.gradient_norm_at_step, c.bound) for s, c in calls(run, place) if c.kind == "norm" and c.bound]
    measured = [
        (norm, bound) for norm, bound in pairs if norm is not None and bound is not None and math.isfinite(bound)
    ]
    if not measured:
        return None
    norm, bound = max(measured, key=lambda pair: pair[0] / pair[1])
    series = tuple(norm for norm, _ in measured)
    return Evidence(
        "gradient norm that the optimizer applies", norm, bound, holds=norm > TOLERANCE * bound, series=series
    )
