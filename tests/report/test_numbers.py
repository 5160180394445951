"""Numbers, quantities and durations as text."""

from __future__ import annotations

import math

import pytest

from modellint.report.numbers import count, duration, number, quantity, span


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (103_109.2, "103,109"),
        (60_734, "60,734"),
        (999.7, "1,000"),
        (999.4, "999"),
        (38.24, "38.2"),
        (8.0, "8"),
        (0.45, "0.45"),
        (0.0161, "0.0161"),
        (0.001, "0.001"),
        (0.0003, "3e-04"),
        (1.5e-7, "1.5e-07"),
        (-1.5e-7, "-1.5e-07"),
        (-4.56, "-4.56"),
        (0, "0"),
        (-0.0, "0"),
        (1e300, "1e+300"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        ("3 of 10", "3 of 10"),
        (True, "yes"),
        (None, "not measured"),
        (10**18, "1,000,000,000,000,000,000"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.312, "fraction", "31.2 %"),
        (40, "%", "40 %"),
        (3.91, "nats", "3.91 nats"),
        ("3 of 10", "fraction", "3 of 10"),
        (None, "nats", "not measured"),
    ],
)
def test_quantity(value, unit, text):
    assert quantity(value, unit) == text


def test_span_names_the_unit_once():
    assert span(0.1, 0.93, "fraction") == "10 .. 93 %"
    assert span(4.5, 8.7, "nats") == "4.5 .. 8.7 nats"


def test_count_and_duration():
    assert [count(n, "error") for n in (0, 1, 2_000)] == ["0 errors", "1 error", "2,000 errors"]
    assert [duration(s) for s in (0.41, 6.13, 125.2)] == ["0.4 s", "6.1 s", "2 min 5 s"]
