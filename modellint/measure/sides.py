"""The two sides of the loss that a finding names: what entered it and its targets."""

from __future__ import annotations

from modellint.core.diagnostic import Location

from .quantities import Pair
from .run import Run


def of_loss(run: Run, place: Location) -> list[Pair]:
    """At each step that measured them; none if the run's loss is called in another line."""
    known = run.loss.location.line if run.loss else None
    if None not in (known, place.line) and known != place.line:
        return []
    return [step.pair for step in run.steps if step.pair]
