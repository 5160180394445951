"""A short, fixed part of benchmarks/fuzz.py."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

from modellint import pipeline
from modellint.core.config import Settings

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import fuzz

EACH, LIMIT = 20, 60.0  # CPU seconds: what hangs takes any number


@cache
def seeds() -> list[str]:
    return fuzz.seeds()


@pytest.mark.parametrize("first", range(0, 6 * EACH, EACH))
def test_broken_sources_end_in_findings_or_a_problem(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(root=tmp_path)
    case = fuzz.Case(pipeline.reading(settings), settings)
    for number in range(first, first + EACH):
        files = fuzz.sources(seeds(), number)
        assert fuzz.failures(case, files, LIMIT) == [], f"source {number}"
        for name in files:
            Path(name).unlink()


def test_a_source_that_breaks_a_rule_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(root=tmp_path)
    rules = pipeline.reading(settings)
    rule = next(rule for rule in rules if rule.name == "missing-zero-grad")
    monkeypatch.setattr(rule, "suspect", lambda script: 1 / 0, raising=False)
    (told,) = fuzz.failures(fuzz.Case(rules, settings), {fuzz.MAIN: b"loss.backward()\noptimizer.step()\n"}, LIMIT)
    assert "division by zero" in told
