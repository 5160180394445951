"""Evidence in words."""

from __future__ import annotations

import math

import pytest

from modellint.core.diagnostic import Evidence
from modellint.report.reading import figures


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (Evidence("c", 103_109.0, 1.0, series=(0.45, 3.0, 103_109.0)), "0.45 .. 103,109, above 1 in 2 of 3 steps"),
        (Evidence("c", 3.0, 1.0, series=(0.45, 3.0, 103_109.0)), "3 (0.45 .. 103,109), above 1 in 2 of 3 steps"),
        (Evidence("c", 0.03, 0.05, series=(0.03, 0.5)), "0.03 .. 0.5, below 0.05 in 1 of 2 steps"),
        (Evidence("c", 0.31, 0.2, "fraction"), "31 %, above 20 %"),
        (Evidence("c", 1.0, 1.0), "1, at the bound 1"),
        (Evidence("c", "3 of 10"), "3 of 10"),
        (Evidence("c", "3 of 10", 5), "3 of 10, bound 5"),
        (Evidence("c", 50.0, 10.0, series=(1.0, 2.0)), "50 (1 .. 2), above 10"),
        (Evidence("c", None, None, series=(1.0, 2.0)), "1 .. 2"),
        (Evidence("c", math.nan, 1.0), "nan, bound 1"),
        (Evidence("c", math.inf, 1.0), "inf, above 1"),
        (
            Evidence("c", 2.0, None, series=(1.0, None, math.nan, 2.0)),
            "1 .. 2, not finite in 1 of 4 steps, not measured in 1 of 4 steps",
        ),
        (Evidence("c"), ""),
    ],
)
def test_figures(evidence, words):
    assert figures(evidence) == words
