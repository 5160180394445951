"""Numbers as people read them: 103,109 and 0.45 and 1.5e-07, with their units."""

from __future__ import annotations

import math

from modellint.core.diagnostic import Number

from .plain_text import one_line

SHARES = ("fraction", "share")


def number(value: Number) -> str:
    """At most three significant digits below a thousand, whole numbers with separators above."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return one_line(value)
    return f"{value:,}" if isinstance(value, int) else _real(value)


def _real(value: float) -> str:
    size = abs(value)
    if not math.isfinite(value) or size == 0:
        return f"{value:g}".replace("-0", "0")
    if size < 1e-3 or size >= 1e9:
        return f"{value:.1e}".replace(".0e", "e")
    if size >= 999.5:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):.10f}".rstrip("0").rstrip(".")


def quantity(value: Number, unit: str = "") -> str:
    """`value` in its unit; a share of one is shown in percent."""
    if value is None or isinstance(value, str):
        return number(value)
    if unit in SHARES:
        return f"{number(100 * value)} %"
    return f"{number(value)} {unit}".rstrip()


def span(low: float, high: float, unit: str = "") -> str:
    """Both ends of a range, the unit once."""
    return f"{quantity(low, unit).partition(' ')[0]} .. {quantity(high, unit)}"


def count(amount: int, noun: str) -> str:
    """ "1 error", "2 errors"; no noun here has an irregular plural."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def duration(seconds: float) -> str:
    """ "0.4 s", "6.1 s", "2 min 5 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
