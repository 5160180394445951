"""What reading costs, counted in calls, is in proportion to what is read."""

import sys

import pytest

from benchmarks import scaling
from modellint import pipeline
from modellint.core.config import Settings

STEEPEST = 2.7  # times the calls for twice the code; with twice in some part of them it is 4
PARTS = 60
KINDS = (
    "elif arms, assignments", "elif arms, calls of functions", "elif arms that return",
    "match arms", "nested ifs", "nested fors", "statements, of one name", "statements, of one attribute",
    "assignments of one name, all used", "functions of one name", "models", "layers of a list", "optimizers",
    "loops", "callers of one function", "files by themselves", "files in a circle",
)  # fmt: skip


@pytest.fixture(scope="module")
def rules():
    return pipeline.reading(Settings())


def calls(kind, n, rules):
    counted = 0

    def count(frame, event, argument):
        nonlocal counted
        counted += event == "call"

    made = scaling.KINDS[kind](n)
    sys.setprofile(count)
    try:
        scaling.seconds(made, rules, Settings())
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("kind", KINDS)
def test_twice_as_much_takes_twice_as_long(kind, rules):
    few = PARTS // 5 if kind.startswith("files") else PARTS
    scaling.seconds(scaling.KINDS[kind](few), rules, Settings())  # what is asked and kept for names, once
    assert calls(kind, 2 * few, rules) < STEEPEST * calls(kind, few, rules)
