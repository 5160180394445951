"""The outcomes of one trial, one a seed, as the record that reports draw."""

from __future__ import annotations

from collections.abc import Sequence

from modellint.core.proof import Spread, Trial
from modellint.measure.statistics import median

from . import verdict
from .outcome import Outcome


def trial(outcomes: Sequence[Outcome]) -> Trial:
    ends = [verdict.end(o.losses) for o in outcomes if o.losses]
    names = dict.fromkeys(name for o in outcomes for name in o.measures)
    columns = zip(*(o.losses for o in outcomes if o.losses), strict=False)
    return Trial(
        loss=_spread(ends),
        losses=tuple(median(column) for column in columns),
        measures={name: _spread([o.measures[name] for o in outcomes if name in o.measures]) for name in names},
        seeds=len(outcomes),
        non_finite=sum(not o.finite for o in outcomes),
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values)) if values else Spread()
