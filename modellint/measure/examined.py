"""What the examinations after the last step came to, as evidence; None where one was not made."""

from __future__ import annotations

from modellint.core.diagnostic import Evidence, Location

from .run import Examination, Run


def mixing(run: Run) -> Evidence | None:
    """The largest part of the other results that change with one sample of the batch."""
    return _evidence(run.examined("batch-mixing"), "other results that change with one sample of the batch", 0.5)


def foresight(run: Run) -> Evidence | None:
    return _evidence(run.examined("causality"), "change of a prediction with the token that it predicts", 0.0)


def randomness(run: Run) -> Evidence | None:
    return _evidence(run.examined("determinism"), "difference of two evaluations of the same batch", 0.0)


def copying(run: Run) -> Evidence | None:
    return _evidence(run.examined("copying"), "change of a prediction with the token after it", 0.0)


def filling(run: Run) -> Evidence | None:
    return _evidence(run.examined("padding"), "labels of the last batch that are padding", 0.0)


def stubbornness(run: Run) -> Evidence | None:
    return _evidence(run.examined("capacity"), "lowest loss of one batch in 100 steps / loss of guessing", 0.98)


def place(run: Run, examined: Examination) -> Location:
    """Where the fault is made, the class of the model, or the line that calls it."""
    return next((known for known in (examined.origin, examined.location) if known.path), run.place("model"))


def _evidence(examined: Examination, claim: str, bound: float) -> Evidence | None:
    if examined.found is None:
        return None
    return Evidence(claim, examined.value, bound, holds=examined.found)
