"""ML307."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.core.diagnostic import Location
from modellint.measure.run import Clip
from modellint.measure.statistics import norm
from modellint.measure.trajectory import explosions


def _run(clip: Clip, before: float, applied: float, loss: float = 2.0, calls: int = 1) -> Run:
    """Three calm steps, then six of gradient norm `before` at backward() and `applied` at step()."""
    calm = Step(loss=2.0, gradient_norm=0.2, gradient_norm_at_step=0.2)
    clips, names = (clip,) * calls, clip.parameters
    late = Step(3, 0, loss, gradient_norm=before, gradient_norm_at_step=applied, clips=clips, backwards=calls)
    known = replace(late, gradients=dict.fromkeys(names, before), gradients_at_step=dict.fromkeys(names, applied))
    return Run(steps=(calm, calm, calm, *[known] * 6))


class ClipWithoutEffect(RuntimeRule):
    """Gradients are clipped, and the optimizer applies larger ones all the same.

    Why: a clip that runs after step(), before backward(), over other parameters or with a bound that is never
        reached looks like a safeguard and is none: the one explosion it was written for passes.
    Fix: clip the parameters that the optimizer holds, between the last backward() and step(), with a max_norm near
        the norms of a calm step (0.1 to 10 is usual); under a gradient scaler call unscale_() first.
    Ignore: gradients that are clipped one by one and then summed, as differential privacy does, are left out
        already; so are clips in another norm than the Euclidean one.
    Thresholds: `tolerance` = 1.01 times max_norm (0 false alarms in 198 healthy runs); a clip that never binds is
        convicted only if gradients exploded (50 times those of the first steps while the loss did not fall).
    Reported: https://github.com/awslabs/graphstorm/issues/1366
    """

    code, severity, topic = "ML307", Severity.WARNING, "gradients"
    explains, twins = ("exploding-gradients",), ("clip-never-binds",)
    remedy = "clip"
    needs = "a call that clips the norm of gradients"
    tolerance = 1.01
    bad = (
        _run(Clip(bound=0.25, norm=0.5, after_step=True), 0.5, 0.5),
        _run(Clip(bound=1.0, norm=0.0, after_backward=False), 3.0, 3.0),
        _run(Clip(bound=1e9, norm=1e5), 1e5, 1e5, loss=90.0),
    )
    good = (
        _run(Clip(bound=1.0, norm=3.0), 3.0, 1.0),
        _run(Clip(bound=1.0, norm=0.2), 0.4, 0.4),
        _run(Clip(bound=1.0, norm=0.9), 3.0, 2.0, calls=4),  # micro-batches clipped one by one, then summed
        _run(
            Clip(bound=0.5, norm=0.9, parameters=("w",)), 3.0, 1.7
        ),  # bounds the largest entry, not the Euclidean norm
        _run(Clip(bound=math.inf, norm=3.0), 3.0, 3.0),  # called to log the norm
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        judged = [found for step in run.steps for found in _judged(step)]
        worst = max(judged, key=lambda found: found.excess, default=None)
        if worst is not None and worst.excess > self.tolerance:
            yield self._exceeds(run, worst)
        elif worst is not None and (loose := _never_binds(run)):
            yield from (self._loose(norms, clip) for clip, norms in loose)
        elif worst is not None:
            yield self.passed("the clip bounds what the optimizer applies", worst.applied, worst.bound)

    def _exceeds(self, run: Run, worst: _Clipped) -> Diagnostic:
        applied = tuple(
            next((found.applied for found in _judged(step) if found.clip.location == worst.clip.location), None)
            for step in run.of(worst.step.optimizer)
        )
        evidence = Evidence("gradient norm that the optimizer applies", worst.applied, worst.bound, series=applied)
        return self.convict(worst.clip.location, f"the clip {_reason(worst)}", evidence)

    def _loose(self, norms: Sequence[float], clip: Clip) -> Diagnostic:
        evidence = Evidence("gradient norm at the clip", max(norms), clip.bound, series=tuple(norms))
        message = f"the clip never binds in a run that explodes: max_norm is {clip.bound:,g}"
        return self.convict(clip.location, message, evidence)


@dataclass(frozen=True, slots=True)
class _Clipped:
    """A clip, and the norm that the optimizer applied to the parameters it was given."""

    step: Step
    clip: Clip
    bound: float
    applied: float

    @property
    def excess(self) -> float:
        return self.applied / self.bound


def _judged(step: Step) -> Iterator[_Clipped]:
    """The clips of a step whose promise can be held against what the optimizer applied."""
    calls = Counter(clip.location for clip in step.clips)
    for clip in step.clips:
        one_by_one = step.backwards > 1 and calls[clip.location] > 1
        applied = _norm(clip, step.gradients_at_step, step.gradient_norm_at_step)
        if _bounds(clip) and not one_by_one and applied is not None and _is_euclidean(step, clip):
            yield _Clipped(step, clip, clip.bound or 0.0, applied)


def _bounds(clip: Clip) -> bool:
    return clip.kind == "norm" and clip.bound is not None and 0 < clip.bound < math.inf


def _norm(clip: Clip, gradients: Mapping[str, float | None], total: float | None) -> float | None:
    """Of the parameters that were clipped; of all if none of them is the optimizer's."""
    own = [gradients[name] or 0.0 for name in clip.parameters if name in gradients]
    return norm(own) if own else total


def _is_euclidean(step: Step, clip: Clip) -> bool:
    """A clip in another norm saw another number than the one measured; misplaced, it cannot be told."""
    before = _norm(clip, step.gradients, step.gradient_norm)
    if clip.after_step or not clip.after_backward or clip.norm is None or before is None:
        return True
    return math.isclose(clip.norm, before, rel_tol=0.1) or not set(clip.parameters) & set(step.gradients)


def _never_binds(run: Run) -> list[tuple[Clip, list[float]]]:
    """Each clip of a run that explodes that no gradient reached, with the norms that it saw."""
    calls: dict[Location, list[Clip]] = {}
    for clip in (clip for step in run.steps for clip in step.clips if _bounds(clip)):
        calls.setdefault(clip.location, []).append(clip)
    seen = ((clips[0], [clip.norm for clip in clips if clip.norm is not None]) for clips in calls.values())
    loose = [(clip, norms) for clip, norms in seen if norms and max(norms) <= (clip.bound or 0.0)]
    return loose if any(explosions(run)) else []


def _reason(worst: _Clipped) -> str:
    if worst.clip.after_step:
        return "runs after step() has used the gradients"
    if not worst.clip.after_backward:
        return "runs before backward() has made the gradients"
    if worst.clip.parameters and not set(worst.clip.parameters) & set(worst.step.gradients_at_step):
        return "is given other parameters than the optimizer updates"
    return "does not bound what the optimizer applies"
