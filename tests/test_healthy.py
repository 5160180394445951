"""No healthy script is alarmed at when it is probed: each once, in a fork of this process, which has torch already."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modellint.core.diagnostic import Severity

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import forked  # noqa: E402
from healthy import MENDED, UNTOUCHED  # noqa: E402

HEALTHY = ROOT / "fixtures" / "healthy"
NEW = {*UNTOUCHED, *MENDED}
OLD = sorted(file for form in ("*.py", "*/train.py") for file in HEALTHY.glob(form) if file.stem not in NEW)


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    forked.warm()


def alarms(script: Path) -> list[str]:
    return [
        f"{d.location}: {d.rule}" for d in forked.probe(script).diagnostics if d.level.rank >= Severity.WARNING.rank
    ]


@pytest.mark.parametrize("name", sorted(NEW))
def test_scripts_that_tuned_nothing(name: str) -> None:
    assert alarms(HEALTHY / f"{name}.py") == []


@pytest.mark.heavy
@pytest.mark.parametrize("script", OLD, ids=lambda script: script.relative_to(HEALTHY).as_posix())
def test_scripts_that_were_there_before(script: Path) -> None:
    assert alarms(script) == []
