"""A series of numbers as a row of blocks, on a logarithmic scale where it spans orders of magnitude."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

Series = Sequence[float | None]

BLOCKS = "▁▂▃▄▅▆▇█"
MISSING = "·"
NON_FINITE = "!"
LOGARITHMIC_FROM = 100  # largest over smallest


def sparkline(series: Series, width: int = 30) -> str:
    """At most `width` columns; a longer series shows the peak of each part. Empty for fewer than two numbers."""
    numbers = finite(series)
    if len(numbers) < 2:
        return ""
    floor = min(value for value in numbers if value > 0) if is_logarithmic(series) else None
    low, high = (_scaled(bound, floor) for bound in (min(numbers), max(numbers)))
    return "".join(_block(peak, low, high, floor) for peak in _peaks(series, width))


def finite(series: Series) -> list[float]:
    return [value for value in series if value is not None and math.isfinite(value)]


def is_logarithmic(series: Series) -> bool:
    """Whether no number is negative and the positive ones span two orders of magnitude."""
    numbers = finite(series)
    positive = [value for value in numbers if value > 0]
    return len(positive) == sum(value != 0 for value in numbers) > 1 and max(positive) / LOGARITHMIC_FROM >= min(
        positive
    )


def _peaks(series: Series, width: int) -> Iterator[float | None]:
    columns = min(width, len(series))
    for column in range(columns):
        part = series[column * len(series) // columns : (column + 1) * len(series) // columns]
        present = [value for value in part if value is not None]
        bad = next((value for value in present if not math.isfinite(value)), None)
        yield max(present, default=None) if bad is None else bad


def _scaled(value: float, floor: float | None) -> float:
    return value if floor is None else math.log10(max(value, floor))


def _block(value: float | None, low: float, high: float, floor: float | None) -> str:
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return NON_FINITE
    share = (
        (_scaled(value, floor) / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5
    )  # halves do not overflow
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]
