"""Numbers to places on an axis: logarithmic where they span orders of magnitude."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from modellint.core.record import dataclass
from modellint.report.numbers import quantity
from modellint.report.sparkline import finite, is_logarithmic

TICKS = 5  # at most


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` to `high`, both finite; `low` is positive where the scale is logarithmic."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def of(cls, numbers: Iterable[float | None]) -> Scale | None:
        """The scale that shows all finite numbers; None where there is none."""
        known = finite(list(numbers))
        if not known:
            return None
        if is_logarithmic(known):
            return cls(min(number for number in known if number > 0), max(known), logarithmic=True)
        low, high = min(0.0, *known), max(0.0, *known)
        return cls(low, high if high > low else low + 1.0)

    def place(self, number: float) -> float:
        """Between 0 at `low` and 1 at `high`."""
        if self.logarithmic:
            return (math.log10(max(number, self.low)) - math.log10(self.low)) / self._decades()
        return (number / 2 - self.low / 2) / (self.high / 2 - self.low / 2)  # halves do not overflow

    def ticks(self, unit: str = "") -> Iterator[tuple[float, str]]:
        """Round numbers within the scale, as places and texts."""
        for number in self._powers() if self.logarithmic else self._rounds():
            yield self.place(number), quantity(number, unit)

    def _decades(self) -> float:
        return math.log10(self.high) - math.log10(self.low)

    def _powers(self) -> Iterator[float]:
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        stride = max(1, math.ceil((last - first + 1) / TICKS))
        yield from (10.0**power for power in range(first, last + 1, stride))

    def _rounds(self) -> Iterator[float]:
        rough = (self.high / 2 - self.low / 2) / TICKS * 2
        power = 10.0 ** math.floor(math.log10(rough))
        stride = next(power * step for step in (1, 2, 5, 10) if power * step >= rough)
        first = math.ceil(self.low / stride)
        yield from (stride * index for index in range(first, math.floor(self.high / stride) + 1))
