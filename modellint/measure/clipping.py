"""What the gradient clips of a run were asked for and what the optimizer then applied: the ground of the clip rules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from modellint.core.diagnostic import Evidence, Location
from modellint.core.record import dataclass

from .run import Run
from .statistics import norm
from .step import Clip, Step

TOLERANCE = 1.01  # 0 false alarms in 198 healthy runs
ANYWHERE = Location()


@dataclass(frozen=True, slots=True)
class Promise:
    """A clip to `bound`, and the norm that the optimizer then applied to the parameters that were clipped."""

    step: Step
    clip: Clip
    bound: float
    applied: float

    @property
    def excess(self) -> float:
        return self.applied / self.bound


def calls(run: Run, place: Location = ANYWHERE) -> Iterator[tuple[Step, Clip]]:
    """The calls that were made at `place`; all, where it has no line."""
    for step in run.steps:
        for clip in step.clips:
            if clip.bound is not None and place.line in (None, clip.location.line):
                yield step, clip


def promises(run: Run, place: Location = ANYWHERE) -> Iterator[Promise]:
    """The calls whose bound can be held against what the optimizer applied.

    Micro-batches that are clipped one by one and then summed promise nothing about the sum, and a clip in another norm
    than the Euclidean one promises nothing about the norm that was measured.
    """
    for step, clip in calls(run, place):
        value = _norm(clip, step.gradients_at_step, step.gradient_norm_at_step)
        if bounds(clip) and value is not None and not _one_by_one(step, clip) and _is_euclidean(step, clip):
            yield Promise(step, clip, clip.bound or 0.0, value)


def applied(run: Run, place: Location) -> Evidence | None:
    """Whether the optimizer applied larger gradients than the clip at `place` allows; None if that was not measured."""
    found = list(promises(run, place))
    if not found:
        return None
    worst = max(found, key=lambda promise: promise.excess)
    series = tuple(promise.applied for promise in found)
    claim = "gradient norm that the optimizer applies"
    return Evidence(claim, worst.applied, worst.bound, holds=worst.excess > TOLERANCE, series=series)


def bounds(clip: Clip) -> bool:
    """It limits the norm, and to something: an infinite bound is a way to log the norm."""
    return clip.kind == "norm" and clip.bound is not None and 0 < clip.bound < math.inf


def by_place(run: Run) -> dict[Location, list[Clip]]:
    """The calls that bound a norm, by the user's line."""
    found: dict[Location, list[Clip]] = {}
    for _, clip in calls(run):
        if bounds(clip):
            found.setdefault(clip.location, []).append(clip)
    return found


def _norm(clip: Clip, gradients: Mapping[str, float | None], total: float | None) -> float | None:
    """Of the parameters that were clipped; of all if none of them is the optimizer's."""
    own = [gradients[name] or 0.0 for name in clip.parameters if name in gradients]
    return norm(own) if own else total


def _one_by_one(step: Step, clip: Clip) -> bool:
    return step.backwards > 1 and Counter(call.location for call in step.clips)[clip.location] > 1


def _is_euclidean(step: Step, clip: Clip) -> bool:
    """The call saw the norm that was measured; one in the wrong place saw other gradients, which says nothing."""
    before = _norm(clip, step.gradients, step.gradient_norm)
    if clip.after_step or not clip.after_backward or clip.norm is None or before is None:
        return True
    return math.isclose(clip.norm, before, rel_tol=0.1) or not set(clip.parameters) & set(step.gradients)
