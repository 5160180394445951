"""Each rule proves itself on its own examples and keeps the promises of the catalogue."""

from __future__ import annotations

import graphlib
import re

import pytest

from modellint import selftest
from modellint.core import registry
from modellint.core.rule import GraphRule, Rule, RuntimeRule, SourceRule

RULES = registry.load()
BY_NAME = {rule.name: rule for rule in RULES}
LAYERS = {"1": SourceRule, "2": GraphRule, "3": RuntimeRule}


def test_every_layer_has_rules() -> None:
    assert {rule.code[2] for rule in RULES} == set(LAYERS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_examples(rule: Rule) -> None:
    assert list(selftest.failures(rule)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_catalogue(rule: Rule) -> None:
    assert re.fullmatch(r"ML[123]\d\d", rule.code)
    assert isinstance(rule, LAYERS[rule.code[2]])
    assert len(selftest.examples(rule.bad)) >= 1
    assert len(selftest.examples(rule.good)) >= 2
    assert rule.summary().endswith(".")
    assert "http" in rule.section("Reported")
    assert all(symptom in BY_NAME for symptom in (*rule.explains, *rule.twins)), (
        "explains and twins name rules that exist"
    )


@pytest.mark.parametrize("rule", [rule for rule in RULES if isinstance(rule, SourceRule)], ids=lambda rule: rule.name)
def test_source_rules_name_their_trigger_words(rule: Rule) -> None:
    for example in selftest.examples(rule.bad):
        assert any(word in example for word in rule.words), f"a file without {rule.words} is never parsed"


def test_causes_and_symptoms_have_no_cycle() -> None:
    graphlib.TopologicalSorter({rule.name: rule.explains for rule in RULES}).prepare()
