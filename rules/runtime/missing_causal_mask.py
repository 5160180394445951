"""ML213."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Passed, Run, RuntimeRule, Severity
from modellint.core.diagnostic import Unchecked
from modellint.measure.examined import foresight, place
from modellint.measure.run import Examination


def _run(change: float, sure: bool = True) -> Run:
    return Run(examinations=(Examination("causality", change > 0, value=change, sure=sure),))


class MissingCausalMask(RuntimeRule):
    """A model that learns to predict the next token sees that token.

    Why: the answer stands in the input, so the loss falls to almost nothing while nothing is learned that could
        generate text: there the next token is not known.
    Fix: give the attention a causal mask (`is_causal=True`, `generate_square_subsequent_mask`) that also hides the
        very next place; of convolutions pad the left side only; leave `bidirectional=True` to models that do not
        predict their own input.
    Ignore: when the labels are the input moved by one for another reason. A model that may first sum up the whole text
        for a decoder, as an autoencoder does, gets a note.
    Thresholds: only where at least 95 % of the labels are the next tokens of an input. After the last step a copy of
        the model, in evaluation mode, is given the last batch again with other tokens at one place: what it computes
        at the place before must not change.
    Reported: https://github.com/pytorch/tutorials/issues/2478,
        https://github.com/alex-matton/causal-transformer-decoder/issues/1,
        https://github.com/huggingface/transformers/issues/48745
    """

    code, severity, topic = "ML213", Severity.ERROR, "structure"
    needs = "a model that predicts the next token, after the last watched step"
    bad = _run(0.3)
    good = (_run(0.0), Run(examinations=(Examination("causality", reason="the labels are not the next tokens"),)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed | Unchecked]:
        examined, evidence = run.examined("causality"), foresight(run)
        if evidence is None:
            yield self.unchecked(examined.reason)
        elif not evidence.holds:
            yield self.passed("no place sees the token that it predicts")
        else:
            severity = None if examined.sure else Severity.NOTE
            message = "what predicts the next token sees that token"
            yield self.convict(place(run, examined), message, evidence, severity=severity)
