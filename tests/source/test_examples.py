import inspect

import pytest

from modellint.core import registry
from modellint.core.rule import SourceRule
from modellint.source import parse

RULES = [rule for rule in registry.load() if isinstance(rule, SourceRule)]


def _cases(attribute):
    for rule in RULES:
        given = getattr(rule, attribute)
        for number, example in enumerate(given if isinstance(given, tuple) else (given,)):
            yield pytest.param(rule, inspect.cleandoc(example), id=f"{rule.name}-{number}")


@pytest.mark.parametrize(("rule", "example"), _cases("bad"))
def test_bad_example_is_found(rule, example):
    assert list(rule.check(parse.script("example.py", example)))


@pytest.mark.parametrize(("rule", "example"), _cases("good"))
def test_good_example_is_quiet(rule, example):
    assert not list(rule.check(parse.script("example.py", example)))
