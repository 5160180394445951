"""Findings that are remembered are those that reading again would give."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import pytest

import modellint
from modellint import digest, pipeline, survey
from modellint.core.diagnostic import Report
from modellint.core.nearest import Nearest
from modellint.unit import units

TRAIN = """\
import torch
from helpers import finish

for x, y in loader:
    optimizer.zero_grad()
    loss(model(x), y).backward()
    finish(model, optimizer)
"""
CLIP, STEP = "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", "    optimizer.step()\n"
SICK = f"import torch\n\ndef finish(model, optimizer):\n{STEP}{CLIP}"
HEALTHY = f"import torch\n\ndef finish(model, optimizer):\n{CLIP}{STEP}"


def check(*paths: str, cached: bool = True, **changes: tuple[str, ...]) -> tuple[Report, bool]:
    """The report, and whether anything was read for it."""
    with patch.object(pipeline, "checked", wraps=pipeline.checked) as reading:
        report = survey.check(units(map(Path, paths or (".",)), Nearest(**changes)), cached=cached)
    return report, reading.called


def rules(report: Report) -> set[str]:
    return {finding.rule for finding in report.diagnostics}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "helpers.py").write_text(SICK)
    return tmp_path


def entry(tree: Path) -> Path:
    (found,) = (tree / survey.CACHE).glob("*.json")
    return found


def test_what_has_not_changed_is_not_read_again(tree: Path) -> None:
    first, read = check()
    assert read
    again, read = check()
    assert not read
    assert again == first
    assert "clip-after-step" in rules(again)


def test_a_file_that_changed_is_read(tree: Path) -> None:
    check()
    (tree / "train.py").write_text("x = 1\n")
    report, read = check()
    assert read
    assert rules(report) == set()


def test_a_change_of_a_file_that_is_only_imported_counts(tree: Path) -> None:
    assert "clip-after-step" in rules(check("train.py")[0])
    assert not check("train.py")[1]
    (tree / "helpers.py").write_text(HEALTHY)
    report, read = check("train.py")
    assert read
    assert "clip-after-step" not in rules(report)


def test_a_file_that_comes_where_none_was_counts(tree: Path) -> None:
    (tree / "helpers.py").unlink()
    assert "clip-after-step" not in rules(check("train.py")[0])
    (tree / "helpers.py").write_text(SICK)
    assert "clip-after-step" in rules(check("train.py")[0])
    (tree / "helpers.py").unlink()
    assert "clip-after-step" not in rules(check("train.py")[0])


def test_a_comment_in_a_file_that_is_only_imported_holds(tree: Path) -> None:
    mark = "  # modellint: ignore[clip-after-step] logged\n"
    (tree / "helpers.py").write_text(SICK.replace("1.0)\n", f"1.0){mark}"))
    assert rules(check("train.py")[0]) == set()
    (tree / "helpers.py").write_text(SICK.replace("1.0)\n", f"1.0){mark.replace('clip-after', 'no-such')}"))
    assert rules(check("train.py")[0]) == {"clip-after-step"}


def test_a_file_that_is_excluded_and_only_imported_is_not_mentioned(tree: Path) -> None:
    (tree / "pyproject.toml").write_text("[tool.modellint]\nexclude = ['helpers.py']\n")
    assert rules(check()[0]) == set()
    assert rules(check("train.py")[0]) == set()
    assert rules(check("train.py", "helpers.py")[0]) == {"clip-after-step"}


def test_other_settings_other_findings(tree: Path) -> None:
    check()
    assert rules(check(ignore=("clip-after-step",))[0]) == set()
    assert "clip-after-step" in rules(check()[0])
    (tree / "pyproject.toml").write_text("[tool.modellint.per-file-ignores]\n'*' = ['ML104']\n")
    assert rules(check()[0]) == set()


def test_a_user_rule_that_changed_is_asked_again(tree: Path) -> None:
    rule = tree / "lint" / "house_rule.py"
    rule.parent.mkdir()
    text = (
        "from modellint import SourceRule\n\n\nclass House(SourceRule):\n    code, words = 'HR1', ('zero_grad',)\n\n"
        "    def check(self, script):\n        return (self.at(c, 'x') for c in script.calls if c.method == 'zero_grad')\n"
    )
    rule.write_text(text)
    (tree / "pyproject.toml").write_text("[tool.modellint]\nrule-paths = ['lint']\nselect = ['HR1']\n")
    assert rules(check("train.py")[0]) == {"house-rule"}
    assert not check("train.py")[1]
    rule.write_text(text.replace("c.method == 'zero_grad'", "c.method == 'no_such_call'"))
    assert check("train.py")[1]


def test_another_version_of_modellint_reads_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check()
    monkeypatch.setattr(digest, "__version__", modellint.__version__ + ".post1")
    assert check()[1]


@pytest.mark.parametrize("damage", ["", "{", "[]", "3", '{"files": {}}', '{"files": 1, "used": 2, "report": 3}'])
def test_a_damaged_or_foreign_entry_is_replaced(tree: Path, damage: str) -> None:
    before, _ = check()
    entry(tree).write_text(damage)
    after, read = check()
    assert read
    assert after == before
    assert not check()[1]


def test_an_entry_with_another_shape_of_report_is_replaced(tree: Path) -> None:
    before, _ = check()
    content = json.loads(entry(tree).read_text())
    content["report"]["diagnostics"][0]["severity"] = "catastrophe"
    entry(tree).write_text(json.dumps(content))
    after, read = check()
    assert read
    assert after == before


def test_without_a_cache_nothing_is_written(tree: Path) -> None:
    assert check(cached=False)[1]
    assert not (tree / survey.CACHE).exists()
