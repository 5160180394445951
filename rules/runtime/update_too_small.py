"""ML315."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Optimizer
from modellint.measure.statistics import entropy, median, shares
from modellint.measure.step import Clip
from modellint.measure.trajectory import LAST, no_better_than_guessing, warms_up
from modellint.measure.updates import largest


def _run(
    ratios: Sequence[Mapping[str, float]],
    losses: Sequence[float],
    rates: Sequence[float] = (1e-8,),
    clips: tuple[Clip, ...] = (),
) -> Run:
    """A step for each loss; the last of the given ratios and rates go on."""
    return Run(
        steps=tuple(
            Step(
                index,
                loss=loss,
                updates=ratios[min(index, len(ratios) - 1)],
                gradients={"a": 0.1, "b": 0.1},
                clips=clips,
                learning_rate=rates[min(index, len(rates) - 1)],
            )
            for index, loss in enumerate(losses)
        ),
        optimizers=(Optimizer("Adam", rates[0]),),
    )


_FLAT, _FALLING = (2.3, 2.31, 2.3, 2.3, 2.32, 2.3), (2.3, 2.2, 2.1, 2.0, 1.9, 1.8)


class UpdateTooSmall(RuntimeRule):
    """No step changes any weight by more than a ten thousandth of itself.

    Why: a network that moves by less than 1/10,000 in a step needs ten thousand steps and more to become another
        one; on bfloat16 weights such an update is rounded away.
    Fix: raise the learning rate, by 10 at first; look for a schedule that has been stepped too often, for a loss that
        is divided twice, and for gradients that are clipped to far less than their norm.
    Ignore: a polishing of trained weights may be this gentle: only noted where the loss over classes is below `trained` =
        0.9 times the entropy of the labels, or where another loss falls and the updates are at least `gentle` = a tenth of
        the bound: what a loss falls by within smaller ones is chance, but for embeddings, of which a batch moves few rows.
    Thresholds: `ratio` = in every step the largest (norm of the update) / (norm of the weight) over all tensors that
        have a gradient and did not begin at zero is below 1e-4 (0 of 129 healthy runs; 3e-4 alarms on some). While the
        rate still rises in the second half of the steps the bound is `warmup` = a thousand times lower: no warm-up rises by
        more; unless each gradient is clipped to less than that part of itself, which is then the reason.
    Reported: https://github.com/torch/torch7/issues/1092
    """

    code, severity = "ML315", Severity.WARNING
    explains = ("loss-not-falling",)
    remedy = "raise-lr"
    needs = "the updates of five steps"
    ratio, steps, warmup, trained, gentle = 1e-4, 5, 1e-3, 0.9, 0.1
    bad = (
        _run([{"a": 1e-8, "b": 4e-7}], _FLAT),
        _run([{"a": 1e-6}], _FALLING),
        _run([{"a": 1e-11}], _FLAT, rates=[1e-8, 2e-8, 3e-8, 4e-8, 5e-8, 6e-8]),
        _run([{"a": 1e-6}], _FLAT, rates=[1e-9, 1e-8, 9e-9, 8e-9, 7e-9, 6e-9]),  # its warm-up is over
        _run([{"a": 1e-6}], _FLAT, rates=[0.01, 0.02, 0.03, 0.04, 0.05, 0.06], clips=(Clip(bound=1e-7, norm=0.5),)),
    )
    good = (
        _run([{"a": 1e-6, "b": 5e-3}], _FLAT),
        _run([{"a": 1e-6}], _FLAT, rates=[1e-8, 2e-8, 3e-8, 4e-8, 5e-8, 6e-8]),  # warms up
        _run([{"a": 1e-6}], _FLAT, rates=[1e-8, 2e-8, 2e-8, 2e-8, 2e-8, 3e-8], clips=(Clip(bound=0.1, norm=0.5),)),
        _run([{"a": 1e-3}], _FALLING, clips=(Clip(bound=1e-7, norm=0.5),)),  # Adam makes up for it
        _run([{"a": 0.0, "b": 0.0}], _FLAT),  # frozen-weights
        _run([{"a": 1e-8}], _FLAT[:3]),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        grown = {parameter.name for parameter in run.parameters if parameter.zero_initialised}
        for index, optimizer in enumerate(run.optimizers):
            steps = [step for step in run.of(index) if not step.skipped]
            series = tuple(largest(step, grown) for step in steps)
            measured = [ratio for ratio in series if ratio is not None]
            if len(measured) < self.steps or not any(measured):
                continue
            waits = warms_up(steps) and not self._is_throttled(steps)
            bound = self.ratio * (self.warmup if waits else 1.0)
            if max(measured) < bound:
                evidence = Evidence(
                    "largest norm of an update / norm of the weight", max(measured), bound, series=series
                )
                is_gentle = max(measured) >= self.gentle * bound or _only_looks_up(run, optimizer)
                severity = Severity.NOTE if self._is_trained(run, steps, is_gentle) else None
                yield self._finding(optimizer, evidence, severity)
            elif max(measured) >= self.ratio:
                yield self.passed("the weights move (largest update / weight)", max(measured), self.ratio)

    def _finding(self, made: Optimizer, evidence: Evidence, severity: Severity | None) -> Diagnostic:
        rate = "" if made.learning_rate is None else f" of {made.learning_rate:g}"
        message = f"the learning rate{rate} changes no weight by more than {evidence.value:.1g} of itself in a step"
        return self.convict(made.location, message, evidence, severity=severity)

    def _is_throttled(self, steps: Sequence[Step]) -> bool:
        """Whether a clip leaves next to nothing of every gradient."""
        seen = [(clip.norm, clip.bound) for step in steps for clip in step.clips]
        pairs = [(norm, bound) for norm, bound in seen if norm and bound is not None]
        return bool(pairs) and all(bound < self.warmup * norm for norm, bound in pairs)

    def _is_trained(self, run: Run, steps: Sequence[Step], is_gentle: bool) -> bool:
        classed = [step.class_loss for step in steps if step.class_loss is not None]
        if not classed or not run.label_counts:
            return is_gentle and not no_better_than_guessing(run, steps)
        return median(classed[-LAST:]) < self.trained * entropy(shares(run.label_counts))


def _only_looks_up(run: Run, made: Optimizer) -> bool:
    """Whether all that the optimizer holds are embeddings."""
    kinds = {parameter.name: parameter.module_class for parameter in run.parameters}
    return bool(made.parameters) and all(kinds.get(name, "").startswith("Embedding") for name in made.parameters)
