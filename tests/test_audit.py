"""The audit, end to end: the failing classifier is convicted with its numbers, its healed twin is let go."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"
LOUD = ("warning", "error")


@cache
def probe(name: str, form: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modellint", "probe", "--output-format", form, f"{name}/seed_classifier.py"]
    return subprocess.run(command, cwd=FIXTURES, capture_output=True, text=True, timeout=120)


def findings(name: str, rule: str) -> list[dict[str, Any]]:
    return [d for d in json.loads(probe(name, "json").stdout)["diagnostics"] if d["rule"] == rule]


def numbers(finding: dict[str, Any]) -> list[float]:
    return [x for e in finding["evidence"] for x in (e["value"], *e["series"]) if isinstance(x, (int, float))]


def test_the_sick_one_fails_the_build_and_the_healthy_one_does_not() -> None:
    assert probe("sick", "json").returncode == 1
    assert probe("healthy", "json").returncode == 0


def test_the_healthy_twin_has_no_finding_above_a_note() -> None:
    report = json.loads(probe("healthy", "json").stdout)
    assert [d for d in report["diagnostics"] if d["severity"] in LOUD] == []
    assert len(report["passed"]) >= 8


@pytest.mark.parametrize("module", ["readout", "representation"])
def test_exploding_gradients_are_found_for_readout_and_representation(module: str) -> None:
    (finding,) = [d for d in findings("sick", "exploding-gradients") if module in d["location"]["module"]]
    assert (finding["verdict"], finding["severity"]) == ("confirmed", "error")
    assert max(numbers(finding)) > 1e4
    assert 0 < min(numbers(finding)) < 1


@pytest.mark.parametrize(
    "rule",
    ["readout-without-norm", "clip-threshold", "collapsed-predictions", "class-imbalance", "large-learning-rate"],
)
def test_each_fault_is_confirmed_in_the_users_file_with_numbers(rule: str) -> None:
    (finding,) = findings("sick", rule)
    assert (finding["verdict"], finding["severity"] in LOUD) == ("confirmed", True)
    assert finding["location"]["path"] == "sick/seed_classifier.py"
    assert finding["location"]["line"] >= 1
    assert numbers(finding)
    assert finding["fix"]
    assert finding["help"]


def test_the_lines_are_the_ones_the_fixture_marks() -> None:
    lines = (FIXTURES / "sick/seed_classifier.py").read_text(encoding="utf-8").splitlines()
    for finding in json.loads(probe("sick", "json").stdout)["diagnostics"]:
        if finding["severity"] in LOUD and finding["rule"] in (
            "clip-threshold",
            "large-learning-rate",
            "class-imbalance",
        ):
            assert f"expect: {finding['rule']}" in lines[finding["location"]["line"] - 1]


def test_the_terminal_shows_what_the_expert_wrote() -> None:
    text = probe("sick", "full").stdout
    for part in ("3 of 10", "sick/seed_classifier.py:", "readout", "representation", "What works", "%"):
        assert part in text


def test_what_works_is_said_too() -> None:
    report = json.loads(probe("sick", "json").stdout)
    healthy = {p["rule"] for p in report["passed"]}
    assert {"zero-gradients", "identical-outputs", "stale-gradients", "loss-not-falling"} <= healthy


def test_markdown_reads_like_an_audit() -> None:
    text = probe("sick", "markdown").stdout
    for heading in ("Issue", "Finding", "Impact", "Root cause", "Recommended fix", "What works"):
        assert heading in text


def test_the_run_can_be_reported_again_without_running() -> None:
    first = json.loads(probe("sick", "json").stdout)
    command = [sys.executable, "-m", "modellint", "report", "--output-format", "json", first["run"]["folder"]]
    again = subprocess.run(command, cwd=FIXTURES, capture_output=True, text=True, timeout=60)
    assert again.returncode == 1
    assert json.loads(again.stdout)["diagnostics"] == first["diagnostics"]
