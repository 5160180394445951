"""ML303."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.run import Parameter
from modellint.measure.trajectory import each_optimizer, no_better_than_guessing


def _run(first: float, last: float, losses: Sequence[float], kind: str = "Linear") -> Run:
    gradients = {"input.weight": first, "middle.weight": 0.1, "readout.weight": last}
    return Run(
        steps=tuple(Step(index, loss=loss, gradients=gradients) for index, loss in enumerate(losses)),
        parameters=(
            Parameter("input.weight", (16, 16), "input", kind),
            Parameter("middle.weight", (16, 16), "middle", "Linear"),
            Parameter("readout.weight", (16, 16), "readout", "Linear", role="readout"),
        ),
    )


_FLAT, _FALLING = (2.3, 2.31, 2.3, 2.3, 2.32, 2.3), (2.3, 2.2, 2.1, 2.0, 1.9, 1.8)


class VanishingGradients(RuntimeRule):
    """The gradients of the first layers are a thousand times smaller than those of the readout.

    Why: each layer that saturates or shrinks multiplies the gradient by a number below one; after some of them the
        first layers stay as they were initialised, and the readout learns on random features.
    Fix: use ReLU or GELU in place of sigmoid and tanh, an initialisation that fits them (Kaiming, Xavier), residual
        connections, a norm between the layers; detach nothing on the way.
    Ignore: when the first layers are meant to stay, and for objectives that are not meant to fall. Only noted while
        the loss falls all the same.
    Thresholds: `ratio` = from the third step on, in every step, the root mean square gradient of the first weight
        matrix is below 1/1000 of that of the readout (0 of 198 healthy runs; the nearest, a PPO, 0.013). Embeddings,
        of which a batch uses a few rows, and gradients that are exactly zero (zero-gradients) are left out.
    Reported: https://github.com/ryanaleksander/kernel-convolution/issues/2
    """

    code, severity, topic = "ML303", Severity.WARNING, "gradients"
    explains = ("loss-not-falling", "collapsed-features")
    needs = "gradients of the readout and of a weight matrix before it, in three steps after the second"
    ratio = 1e-3
    bad = (_run(1e-5, 0.2, _FLAT), _run(1e-7, 0.2, _FALLING))
    good = (
        _run(0.01, 0.2, _FLAT),
        _run(0.0, 0.2, _FLAT),  # cut off, not vanishing
        _run(1e-5, 0.2, _FLAT, kind="Embedding"),
        _run(1e-5, 0.2, _FLAT[:4]),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for steps in each_optimizer(run):
            first, readout = _ends(run, steps)
            series = tuple(_ratio(step, first, readout) if first and readout else None for step in steps)
            late = [ratio for ratio in series[2:] if ratio is not None]
            if first is None or len(late) < 3 or not all(late):
                continue
            if max(late) < self.ratio:
                yield self._finding(run, steps, first, series)
            else:
                yield self.passed("gradients reach the first layer (rms, against the readout)", late[-1], self.ratio)

    def _finding(
        self, run: Run, steps: Sequence[Step], first: Parameter, series: tuple[float | None, ...]
    ) -> Diagnostic:
        worst = max(ratio for ratio in series[2:] if ratio is not None)
        evidence = Evidence(f"rms gradient of {first.name} / of the readout", worst, self.ratio, series=series)
        place = first.location if first.location.path else run.place("backward", first.module or None)
        severity = None if no_better_than_guessing(run, steps) else Severity.NOTE
        message = f"gradients vanish on their way to {first.name}: {worst:.1g} of those of the readout"
        return self.convict(place, message, evidence, severity=severity)


def _ends(run: Run, steps: Sequence[Step]) -> tuple[Parameter | None, Parameter | None]:
    """The first weight matrix that the optimizer trains, and the readout's."""
    measured = {name for step in steps for name in step.gradients}
    weights = [p for p in run.parameters if p.is_weight and p.name in measured and p.requires_grad]
    readout = next((p for p in weights if p.role == "readout"), None)
    before = [p for p in weights if p.role != "readout" and not p.module_class.startswith("Embedding")]
    return next(iter(before), None), readout


def _ratio(step: Step, first: Parameter, readout: Parameter) -> float | None:
    last = _rms(step, readout)
    found = _rms(step, first)
    return None if not last or found is None or not math.isfinite(last) else found / last


def _rms(step: Step, parameter: Parameter) -> float | None:
    gradient = step.gradients.get(parameter.name)
    return None if gradient is None else gradient / math.sqrt(math.prod(parameter.shape))
