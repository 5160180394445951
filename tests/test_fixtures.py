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
SICK, HEALTHY = (
    sorted(path for form in ("*.py", "*/train.py") for path in (FIXTURES / folder).glob(form))
    for folder in ("sick", "healthy")
)
READ = {rule.name for rule in registry.load() if isinstance(rule, SourceRule)}
PROBED_SICK = ("adding_problem", "char_tagger", "fraud", "residual_tower", "siamese", "spirals")
PROBED_HEALTHY = ("bandit", "dqn", "gan", "gradient_accumulation", "lbfgs_fit", "tiny_lm", "wgan")


def twin(script: Path) -> str:
    """NAME of `sick/NAME.py`, and of `sick/NAME/train.py`, whose modules lie beside it."""
    return script.relative_to(FIXTURES).with_suffix("").parts[1]


def files(script: Path) -> list[Path]:
    return sorted(script.parent.glob("*.py")) if script.stem == "train" else [script]


def expectations(script: Path) -> list[tuple[str, int, str, str]]:
    """(file, line, rule, verdict after a probe) of each comment `# expect: RULE VERDICT, RULE VERDICT`."""
    lines = ((file.name, *row) for file in files(script) for row in enumerate(file.read_text("utf-8").splitlines(), 1))
    marks = ((file, number, line.partition("# expect: ")[2]) for file, number, line in lines)
    return [(file, number, *mark.split(" ", 1)) for file, number, text in marks for mark in text.split(", ") if mark]


def check(script: Path) -> tuple[Diagnostic, ...]:
    return pipeline.check(files(script), config.load(FIXTURES)).diagnostics


@cache
def probe(script: Path) -> Any:
    command = [sys.executable, "-m", "modellint", "probe", "--output-format", "json", str(script.relative_to(FIXTURES))]
    return json.loads(subprocess.run(command, cwd=FIXTURES, capture_output=True, text=True, timeout=120).stdout)


def test_every_sick_script_says_what_is_wrong_and_has_a_twin() -> None:
    assert len(SICK) >= 30
    for script in SICK:
        assert expectations(script), script
        assert FIXTURES / "healthy" / script.relative_to(FIXTURES / "sick") in HEALTHY
    assert [script for script in HEALTHY if expectations(script)] == []


@pytest.mark.parametrize("script", SICK, ids=twin)
def test_reading_finds_what_can_be_read(script: Path) -> None:
    found = {(Path(d.location.path).name, d.location.line, d.rule) for d in check(script)}
    assert {(file, line, rule) for file, line, rule, _ in expectations(script) if rule in READ} <= found


@pytest.mark.parametrize("script", HEALTHY, ids=twin)
def test_reading_lets_healthy_scripts_go(script: Path) -> None:
    assert [d for d in check(script) if d.level.rank >= Severity.WARNING.rank] == []


@pytest.mark.parametrize("name", PROBED_SICK)
def test_the_probe_convicts(name: str) -> None:
    script = FIXTURES / "sick" / f"{name}.py"
    places = ((d["location"], d["rule"], d["verdict"]) for d in probe(script)["diagnostics"])
    found = {(Path(location["path"]).name, location["line"], rule, verdict) for location, rule, verdict in places}
    assert set(expectations(script)) <= found


@pytest.mark.parametrize("name", PROBED_HEALTHY)
def test_the_probe_lets_healthy_scripts_go(name: str) -> None:
    report = probe(FIXTURES / "healthy" / f"{name}.py")
    assert [d["rule"] for d in report["diagnostics"] if d["severity"] != "note"] == []
    assert report["passed"]
