"""ML302."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Parameter
from modellint.measure.statistics import median
from modellint.measure.trajectory import FIRST, GROWTH, Explosion, each_optimizer, explosions, norms, parts, reference


def _run(readout: list[float], losses: list[float]) -> Run:
    return Run(
        steps=tuple(
            Step(index, loss=loss, gradients={"readout.weight": norm, "body.weight": 0.5})
            for index, (norm, loss) in enumerate(zip(readout, losses, strict=True))
        ),
        parameters=(Parameter("readout.weight", role="readout", module="readout"), Parameter("body.weight")),
    )


class ExplodingGradients(RuntimeRule):
    """Gradients grow far beyond those of the first steps while the loss does not fall.

    Why: the optimizer follows gradients that say how steep the loss is and no longer where it falls; one such
        update can undo all that was learned, and the next one starts from a worse place.
    Fix: remove the cause that is named with this finding (a learning rate that is too high, features that grow
        without a norm, gradients that are never cleared); clip the gradient norm between backward() and step().
    Ignore: when the objective is not meant to fall, such as the two sides of an adversarial game.
    Thresholds: `growth` = 50 times the median norm of the first three steps: no healthy run of 129 reached it,
        whatever the size of the model, while absolute norms alarm on healthy models. A run that diverges at once
        (class loss above 1.5 max(its first value, ln C)) has no calm third step and is compared with its first
        step.
    Reported: https://github.com/hellopipu/PromptMR-plus/issues/7
    """

    code, severity, topic = "ML302", Severity.ERROR, "gradients"
    explains = (
        "cannot-overfit",
        "non-finite",
        "dead-units",
        "unscaled-features",
        "collapsed-predictions",
        "zero-gradients",
        "loss-not-falling",
    )
    remedy = ("clip", "lower-lr", "normalize-readout", "warm-up")
    needs = "gradient norms of at least four steps"
    growth = GROWTH
    bad = (
        _run([0.45, 0.6, 0.5, 900.0, 103109.0, 5e4, 7e4], [3.9, 3.8, 3.9, 8.0, 400.0, 90.0, 80.0]),
        _run([0.5, 1e5, 200.0, 4e3, 1e3], [3.9, 6e5, 3e3, 3e4, 4e3]),
    )
    good = (
        _run([0.4, 0.5, 0.4, 0.6, 0.7, 0.6], [2.3, 2.2, 2.1, 2.0, 1.9, 1.8]),
        _run([1e3, 7e2, 3e2, 2e2, 2e2, 2e2], [90.0, 60.0, 40.0, 30.0, 20.0, 20.0]),
        _run([0.51, 1e-3, 1.2e-3, 9e-4, 8e-4, 1e-3], [-0.1, 0.0, 0.0, 0.0, 0.0, 0.0]),
        _run([0.0, 0.0, 1e-3, 0.8, 0.9, 0.9, 0.8], [2.3, 2.2, 2.1, 1.9, 1.6, 1.5, 1.2]),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        found = list(explosions(run, self.growth))
        yield from (self._finding(run, explosion) for explosion in found)
        if not found and (grown := _growth(run)) is not None:
            yield self.passed("gradients do not explode", f"{grown:.3g} times the norm of the first steps")

    def _finding(self, run: Run, found: Explosion) -> Diagnostic:
        owner = next((p for p in run.parameters if p.name == found.parameter), Parameter(found.part))
        times = found.peak / found.start
        message = f"gradients of the {found.part} explode: {times:,.0f} times the norm of the first steps"
        worst = f", most of it in {found.parameter}" if found.parameter else ""
        bound = self.growth * found.start
        evidence = Evidence(f"gradient norm of the {found.part}{worst}", found.peak, bound, series=found.series)
        return self.convict(run.place("backward", owner.module or None), message, evidence)


def _growth(run: Run) -> float | None:
    """The median norm of the last steps over that of the first, for the part of the model where it is largest."""
    measured = [norms(steps, names) for steps in each_optimizer(run) for names in parts(run, steps).values()]
    starts = ((reference(series), [n for n in series[FIRST:] if n is not None]) for series in measured)
    return max((median(later) / start for start, later in starts if start and later), default=None)
