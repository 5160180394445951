"""Each sick script is found where its comments say so, and its healthy twin is let go."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from modellint import pipeline
from modellint.core import config, registry
from modellint.core.diagnostic import Diagnostic, Severity
from modellint.core.rule import SourceRule

FIXTURES = Path(__file__).parents[1] / "fixtures"
SICK, HEALTHY = (sorted((FIXTURES / folder).glob("*.py")) for folder in ("sick", "healthy"))
READ = {rule.name for rule in registry.load() if isinstance(rule, SourceRule)}
PROBED_SICK = ("adding_problem", "char_tagger", "fraud", "residual_tower", "siamese", "spirals")
PROBED_HEALTHY = ("bandit", "dqn", "gan", "gradient_accumulation", "lbfgs_fit", "tiny_lm", "wgan")


def expectations(script: Path) -> list[tuple[int, str, str]]:
    """(line, rule, verdict after a probe) of each comment `# expect: RULE VERDICT, RULE VERDICT`."""
    lines = script.read_text(encoding="utf-8").splitlines()
    marks = ((number, line.partition("# expect: ")[2]) for number, line in enumerate(lines, 1))
    return [(number, *mark.split(" ", 1)) for number, text in marks for mark in text.split(", ") if mark]


def check(script: Path) -> tuple[Diagnostic, ...]:
    return pipeline.check([script], config.load(FIXTURES)).diagnostics


@cache
def probe(script: Path) -> Any:
    command = [sys.executable, "-m", "modellint", "probe", "--output-format", "json", str(script.relative_to(FIXTURES))]
    return json.loads(subprocess.run(command, cwd=FIXTURES, capture_output=True, text=True, timeout=120).stdout)


def test_every_sick_script_says_what_is_wrong_and_has_a_twin() -> None:
    assert len(SICK) >= 10
    for script in SICK:
        assert expectations(script), script
        assert FIXTURES / "healthy" / script.name in HEALTHY
    assert [script for script in HEALTHY if expectations(script)] == []


@pytest.mark.parametrize("script", SICK, ids=lambda path: path.stem)
def test_reading_finds_what_can_be_read(script: Path) -> None:
    found = {(d.location.line, d.rule) for d in check(script)}
    assert {(line, rule) for line, rule, _ in expectations(script) if rule in READ} <= found


@pytest.mark.parametrize("script", HEALTHY, ids=lambda path: path.stem)
def test_reading_lets_healthy_scripts_go(script: Path) -> None:
    assert [d for d in check(script) if d.level.rank >= Severity.WARNING.rank] == []


@pytest.mark.parametrize("name", PROBED_SICK)
def test_the_probe_convicts(name: str) -> None:
    script = FIXTURES / "sick" / f"{name}.py"
    found = {(d["location"]["line"], d["rule"], d["verdict"]) for d in probe(script)["diagnostics"]}
    assert set(expectations(script)) <= found


@pytest.mark.parametrize("name", PROBED_HEALTHY)
def test_the_probe_lets_healthy_scripts_go(name: str) -> None:
    report = probe(FIXTURES / "healthy" / f"{name}.py")
    assert [d["rule"] for d in report["diagnostics"] if d["severity"] != "note"] == []
    assert report["passed"]
