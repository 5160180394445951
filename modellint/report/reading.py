"""An Evidence in words: what was measured, its course over the steps, and how it stands to its bound."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator

from modellint.core.diagnostic import Evidence

from .numbers import quantity, span
from .sparkline import finite


def figures(evidence: Evidence) -> str:
    """All numbers of `evidence` in one phrase: "0.45 .. 103,109, above 1 in 9 of 10 steps"."""
    return ", ".join(part for part in (value(evidence), against_bound(evidence), *gaps(evidence)) if part)


def value(evidence: Evidence) -> str:
    """The value and the range of its series; the value alone where it is no end of that range."""
    ends = _ends(evidence)
    course = span(*ends, evidence.unit) if ends else ""
    if evidence.value is None or any(_equal(evidence.value, end) for end in ends or ()):
        return course
    own = quantity(evidence.value, evidence.unit)
    return f"{own} ({course})" if course else own


def against_bound(evidence: Evidence) -> str:
    """ "above 1 in 9 of 10 steps", "below 80 %"; empty where there is no bound."""
    if evidence.bound is None:
        return ""
    bound = quantity(evidence.bound, evidence.unit)
    if not isinstance(evidence.value, (int, float)) or not isinstance(evidence.bound, (int, float)):
        return f"bound {bound}"
    beyond = operator.gt if evidence.value > evidence.bound else operator.lt
    if not beyond(evidence.value, evidence.bound):
        return f"at the bound {bound}" if evidence.value == evidence.bound else f"bound {bound}"
    side = "above" if beyond is operator.gt else "below"
    return f"{side} {bound}{_how_often(sum(beyond(v, evidence.bound) for v in finite(evidence.series)), evidence)}"


def gaps(evidence: Evidence) -> Iterator[str]:
    """What of the series is not finite, or was not measured."""
    steps = len(evidence.series)
    missing = sum(number is None for number in evidence.series)
    broken = steps - missing - len(finite(evidence.series))
    if broken:
        yield f"not finite in {broken:,} of {steps:,} steps"
    if 0 < missing < steps:
        yield f"not measured in {missing:,} of {steps:,} steps"


def _ends(evidence: Evidence) -> tuple[float, float] | None:
    numbers = finite(evidence.series)
    return (min(numbers), max(numbers)) if len(numbers) > 1 else None


def _equal(value: object, end: float) -> bool:
    return isinstance(value, (int, float)) and math.isclose(value, end, rel_tol=1e-6)


def _how_often(times: int, evidence: Evidence) -> str:
    """Said only where the value is of the kind that the series holds."""
    ends = _ends(evidence)
    comparable = ends and isinstance(evidence.value, (int, float)) and ends[0] <= evidence.value <= ends[1]
    return f" in {times:,} of {len(evidence.series):,} steps" if comparable and times else ""
