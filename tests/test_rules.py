"""Each rule proves itself on its own examples and keeps the promises of the catalogue."""

from __future__ import annotations

import graphlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from modellint import Diagnostic, Script, pipeline, selftest
from modellint.core import registry
from modellint.core.rule import GraphRule, Rule, RuntimeRule, SourceRule, Word
from modellint.source.words import Words

RULES = registry.load()
BY_NAME = {rule.name: rule for rule in RULES}
# Structure is read, or examined; what is read has run out of ML1xx.
LAYERS = {"1": SourceRule, "2": (GraphRule, RuntimeRule), "3": RuntimeRule, "4": SourceRule}


def test_every_layer_has_rules() -> None:
    assert {rule.code[2] for rule in RULES} == set(LAYERS)


def held(words: tuple[Word, ...], text: str) -> bool:
    return Words(words).within(text.encode())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_examples(rule: Rule) -> None:
    assert list(selftest.failures(rule)) == []


def test_what_is_only_suspected_must_be_found_and_not_be_certain() -> None:
    class Both(SourceRule):
        """Says one thing for certain."""

        code, words, suspected = "ML199", ("x",), ("x = 1", "y = 1")

        def check(self, script: Script) -> Iterator[Diagnostic]:
            yield from (
                self.at(e, "is bound", certain=True) for f in script.functions for e in f.events if e.name == "x"
            )

    wrong = [line for line in selftest.failures(Both()) if "suspected" in line]
    assert [line.partition(": ")[2] for line in wrong] == [
        "suspected example 1 is not only suspected",
        "suspected example 2 is not only suspected",
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_catalogue(rule: Rule) -> None:
    assert re.fullmatch(r"ML[1234]\d\d", rule.code)
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
        assert held(rule.words, example), f"a file without {rule.words} is never parsed"


def test_causes_and_symptoms_have_no_cycle() -> None:
    graphlib.TopologicalSorter({rule.name: rule.explains for rule in RULES}).prepare()


@pytest.mark.parametrize("rule", [rule for rule in pipeline.readers(RULES) if rule.words], ids=lambda rule: rule.name)
def test_words_are_rare_in_code_that_trains_nothing(rule: Rule, library: list[tuple[str, int]]) -> None:
    """Every file that holds one is parsed for this rule alone, which costs as much as a whole run of ruff over it."""
    share = sum(lines for text, lines in library if held(rule.words, text)) / sum(lines for _, lines in library)
    assert share < 0.35, f"{share:.0%} of torch's own lines would be parsed: choose longer words, or several at once"


@pytest.fixture(scope="module")
def library() -> list[tuple[str, int]]:
    """Every tenth file of torch, with its number of lines."""
    torch = importlib.util.find_spec("torch")
    assert torch is not None
    assert torch.origin is not None
    files = sorted(Path(torch.origin).parent.rglob("*.py"))[::10]
    texts = [file.read_text("utf-8", "replace") for file in files]
    return [(text, text.count("\n")) for text in texts]
