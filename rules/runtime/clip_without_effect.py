"""ML307."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.core.record import replace
from modellint.measure.clipping import TOLERANCE, Promise, applied, by_place, promises
from modellint.measure.step import Clip
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
    remedy = ("move-clip", "clip")
    needs = "a call that clips the norm of gradients"
    tolerance = TOLERANCE
    bad = (
        _run(Clip(bound=0.25, norm=0.5, after_step=True), 0.5, 0.5),
        _run(Clip(bound=1.0, norm=0.0, after_backward=False), 3.0, 3.0),
        _run(Clip(bound=1e9, norm=1e5), 1e5, 1e5, loss=90.0),
    )
    good = (
        _run(Clip(bound=1.0, norm=3.0), 3.0, 1.0),
        _run(Clip(bound=1.0, norm=0.2), 0.4, 0.4),
        _run(Clip(bound=1.0, norm=0.9), 3.0, 2.0, calls=4),  # micro-batches clipped one by one, then summed
        _run(Clip(bound=0.5, norm=0.9, parameters=("w",)), 3.0, 1.7),  # bounds the largest entry
        _run(Clip(bound=math.inf, norm=3.0), 3.0, 3.0),  # called to log the norm
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        worst = max(promises(run), key=lambda promise: promise.excess, default=None)
        if worst is not None and worst.excess > self.tolerance:
            evidence = applied(run, worst.clip.location)
            yield self.convict(worst.clip.location, f"the clip {_reason(worst)}", *([evidence] if evidence else ()))
        elif any(explosions(run)) and (unreached := list(_unreached(run))):
            yield from (self._never_binds(clip, norms) for clip, norms in unreached)
        elif worst is not None:
            yield self.passed("the clip bounds what the optimizer applies", worst.applied, worst.bound)

    def _never_binds(self, clip: Clip, norms: tuple[float, ...]) -> Diagnostic:
        evidence = Evidence("gradient norm at the clip", max(norms), clip.bound, series=norms)
        message = f"the clip never binds in a run that explodes: max_norm is {clip.bound:,g}"
        return self.convict(clip.location, message, evidence)


def _unreached(run: Run) -> Iterator[tuple[Clip, tuple[float, ...]]]:
    """The clips whose bound no gradient reached, with the norms that they saw."""
    for clips in by_place(run).values():
        norms = tuple(clip.norm for clip in clips if clip.norm is not None)
        if norms and max(norms) <= (clips[0].bound or 0.0):
            yield clips[0], norms


def _reason(worst: Promise) -> str:
    if worst.clip.after_step:
        return "runs after step() has used the gradients"
    if not worst.clip.after_backward:
        return "runs before backward() has made the gradients"
    if worst.clip.parameters and not set(worst.clip.parameters) & set(worst.step.gradients_at_step):
        return "is given other parameters than the optimizer updates"
    return "does not bound what the optimizer applies"
