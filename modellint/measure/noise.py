"""Whether the targets of a loss are standard normal noise, as their moments over all steps tell."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .quantities import Pair

FEWEST, MOST = 512, 1 << 14  # targets that are needed, and those of one step that were read
ERRORS = 4  # standard errors


def is_noise(pairs: Iterable[Pair | None]) -> bool:
    seen = [(pair, min(MOST, math.prod(pair.target_shape))) for pair in pairs if pair is not None]
    count = sum(size for _, size in seen)
    if count < FEWEST:
        return False
    mean = sum((pair.target.mean or 0.0) * size for pair, size in seen) / count
    square = sum(math.hypot(pair.target.mean or 0.0, pair.target.std or 0.0) ** 2 * size for pair, size in seen) / count
    kurtosis = sum((pair.kurtosis or 0.0) * size for pair, size in seen) / count
    slack = ERRORS / math.sqrt(count)
    return (
        abs(mean) < slack
        and abs(math.sqrt(square) - 1) < slack / math.sqrt(2)
        and abs(kurtosis - 3) < slack * math.sqrt(24)
    )
