"""No rule, and no fact that it asks for, comes to no end where names are computed from themselves."""

import inspect
import sys

import pytest

from benchmarks.growth import KINDS, grown
from modellint import pipeline
from modellint.core.config import Settings
from modellint.selftest import examples
from modellint.source import parse

STEPS = 12
MOST = 1_000_000  # calls of Python; what is in proportion to the code takes some ten thousand, at most a quarter of it
RULES = pipeline.reading(Settings())


class EndlessError(BaseException):
    """No `except Exception` on the way stops it."""


@pytest.fixture
def counted():
    """Ends what makes too many calls."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"
        if calls > MOST:
            raise EndlessError

    sys.setprofile(count)
    yield
    sys.setprofile(None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if isinstance(examples(rule.bad)[0], str)], ids=lambda r: r.name
)
def test_names_that_are_computed_from_themselves(rule, kind, counted):
    script = parse.script("example.py", grown(inspect.cleandoc(examples(rule.bad)[0]), kind, STEPS))
    assert script.problem is None
    list(rule.suspect(script))
