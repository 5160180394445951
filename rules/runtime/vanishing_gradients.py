"""ML303."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.core.record import replace
from modellint.measure.cast import Parameter
from modellint.measure.trajectory import each_optimizer, no_better_than_guessing


def _run(first: Sequence[float], last: float, losses: Sequence[float]) -> Run:
    """A model whose first matrices have the gradients `first`, followed by as many more and the readout."""
    norms = {f"layers.{index}.weight": norm for index, norm in enumerate([*first, *[0.1] * 3 * len(first)])}
    gradients = {**norms, "readout.weight": last}
    parameters = [
        Parameter(name, (16, 16), name.rpartition(".")[0], role="readout" if "readout" in name else "representation")
        for name in gradients
    ]
    steps = tuple(Step(index, loss=loss, gradients=gradients) for index, loss in enumerate(losses))
    return Run(steps=steps, parameters=tuple(parameters))


def _adapter() -> Run:
    run = _run([1e-5], 0.2, _FLAT)
    begins = replace(run.steps[0], gradients={**run.steps[0].gradients, "layers.0.weight": 0.0})
    return replace(run, steps=(begins, *run.steps[1:]))


_FLAT, _FALLING = (2.3, 2.31, 2.3, 2.3, 2.32, 2.3), (2.3, 2.2, 2.1, 2.0, 1.9, 1.8)


class VanishingGradients(RuntimeRule):
    """The gradients of the first layers are a thousand times smaller than those of the readout.

    Why: each layer that saturates or shrinks multiplies the gradient by a number below one; after some of them the
        first layers stay as they were initialised, and the readout learns on random features.
    Fix: use ReLU or GELU in place of sigmoid and tanh, an initialisation that fits them (Kaiming, Xavier), residual
        connections, a norm between the layers; detach nothing on the way.
    Ignore: when the first layers are meant to stay, and for objectives that are not meant to fall. Only noted while
        the loss falls all the same.
    Thresholds: `ratio` = from the third step on, in every step, the root mean square gradient of each weight matrix in
        the first quarter of the model is below 1/1000 of that of the readout (0 of 198 healthy runs; the nearest, a
        PPO, 0.013). The strongest of them counts: the queries and keys of a fresh transformer read 1e-5, while its
        embeddings and values read 0.1. Gradients that are exactly zero are another fault (zero-gradients); one that is
        exactly zero in the first step only grows with a factor that began at zero, as of an adapter.
    Reported: https://github.com/ryanaleksander/kernel-convolution/issues/2
    """

    code, severity, topic = "ML303", Severity.WARNING, "gradients"
    explains = ("loss-not-falling", "collapsed-features", "identical-outputs")
    remedy = "re-initialise"
    needs = "gradients of the readout and of a weight matrix before it, in three steps after the second"
    ratio = 1e-3
    bad = (_run([1e-5], 0.2, _FLAT), _run([1e-7, 1e-6], 0.2, _FALLING))
    good = (
        _run([0.01], 0.2, _FLAT),
        _run([1e-6, 1e-6, 0.02], 0.2, _FLAT),  # queries, keys and values
        _run([0.0], 0.2, _FLAT),  # cut off, not vanishing
        _run([1e-5], 0.2, _FLAT[:4]),
        _adapter(),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for steps in each_optimizer(run):
            first, readout = _ends(run, steps)
            series = tuple(_ratio(step, first, readout) for step in steps) if readout else ()
            late = [ratio for ratio in series[2:] if ratio is not None]
            if len(late) < 3 or not all(late) or series[0] == 0:  # behind a factor that began at zero, as in LoRA
                continue
            if max(late) < self.ratio:
                yield self._finding(run, steps, first, series)
            else:
                yield self.passed("gradients reach the first layers (rms, against the readout)", late[-1], self.ratio)

    def _finding(
        self, run: Run, steps: Sequence[Step], first: Sequence[Parameter], series: tuple[float | None, ...]
    ) -> Diagnostic:
        strongest = max(first, key=lambda parameter: _rms(steps[-1], parameter) or 0.0)
        worst = max(ratio for ratio in series[2:] if ratio is not None)
        evidence = Evidence(f"rms gradient of {strongest.name} / of the readout", worst, self.ratio, series=series)
        own = strongest.location
        place = own if own.path else run.place("backward", strongest.module or None)
        severity = None if no_better_than_guessing(run, steps) else Severity.NOTE
        message = f"gradients vanish on their way to {strongest.name}: {worst:.1g} of those of the readout"
        return self.convict(place, message, evidence, severity=severity)


def _ends(run: Run, steps: Sequence[Step]) -> tuple[list[Parameter], Parameter | None]:
    """The first quarter of the weight matrices that the optimizer trains, and the readout's."""
    measured = {name for step in steps for name in step.gradients}
    weights = [p for p in run.parameters if p.is_weight and p.name in measured and p.requires_grad]
    readout = next((p for p in weights if p.role == "readout"), None)
    before = [p for p in weights if p.role != "readout"]
    return before[: -(-len(before) // 4)], readout


def _ratio(step: Step, first: Sequence[Parameter], readout: Parameter) -> float | None:
    last, found = _rms(step, readout), [rms for rms in (_rms(step, p) for p in first) if rms is not None]
    return max(found) / last if found and last and math.isfinite(last) else None


def _rms(step: Step, parameter: Parameter) -> float | None:
    gradient = step.gradients.get(parameter.name)
    return None if gradient is None else gradient / math.sqrt(math.prod(parameter.shape))
