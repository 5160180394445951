"""ML326."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Passed, Run, RuntimeRule, Severity
from modellint.core.diagnostic import Unchecked
from modellint.measure.examined import place, randomness
from modellint.measure.run import Draw, Examination


def _run(difference: float, *draws: str) -> Run:
    drawn = tuple(Draw(name) for name in draws)
    return Run(examinations=(Examination("determinism", difference > 0, value=difference, draws=drawn),))


class NondeterministicEval(RuntimeRule):
    """In evaluation mode the model computes something else each time.

    Why: a dropout that `eval()` does not reach, or noise that is added in both modes, makes each evaluation another
        one: its numbers are noisy, and worse than what the model has learned.
    Fix: ask `self.training` before anything is drawn: `F.dropout(x, p, self.training)`, and in evaluation use the mean
        of what is sampled.
    Ignore: when the model samples by design, as a variational autoencoder or Monte Carlo dropout do: hence a note.
    Thresholds: after the last step a copy of the model, in evaluation mode, is given the last batch twice, with other
        random states: the results differ by more than rounding.
    Reported: https://github.com/karpathy/nanoGPT/pull/240, https://github.com/coleygroup/ms-pred/issues/38
    """

    code, severity, topic = "ML326", Severity.NOTE, "structure"
    needs = "a model that is called as a whole, after the last watched step"
    bad = (_run(0.2, "dropout"), _run(0.01))
    good = (_run(0.0), _run(0.0, "rand"))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed | Unchecked]:
        examined, evidence = run.examined("determinism"), randomness(run)
        if evidence is None:
            yield self.unchecked(examined.reason)
        elif not evidence.holds:
            yield self.passed("in evaluation mode the model computes the same each time")
        else:
            drawn = next(iter(examined.draws), None)
            where = drawn.location if drawn is not None and drawn.location.path else place(run, examined)
            cause = f": `{drawn.name}` draws there too" if drawn is not None else ""
            yield self.convict(where, f"in evaluation mode each result is another one{cause}", evidence)
