"""Run to Evidence: whether a loss reaches parameters that no optimizer holds."""

from __future__ import annotations

from modellint.core.diagnostic import Evidence

from .run import Run

FEWEST = 2  # steps after the first: an optimizer may be made late


def loose(run: Run) -> Evidence | None:
    """None where too few steps were made."""
    if max((step.index for step in run.steps), default=0) < FEWEST:
        return None
    count = sum(parameter.loose for parameter in run.parameters)
    return Evidence("parameters with a gradient that no optimizer holds", count, 0, holds=count > 0)
