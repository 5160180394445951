"""Formats through the command line: where the text goes, and what the environment may change about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modellint.cli import cli
from modellint.report import FORMATS

SICK = Path(__file__).parents[2] / "fixtures" / "sick"


def check(*arguments: str, **environment: str) -> Result:
    """`modellint check` of two sick scripts, in this process."""
    scripts = [str(SICK / name) for name in ("gan.py", "char_tagger.py")]
    runner = CliRunner(env={"GITHUB_STEP_SUMMARY": None, "TERM": "xterm", **environment})
    return runner.invoke(cli, ["check", "--isolated", *scripts, *arguments])


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_ends_in_one_newline_and_the_exit_code_is_that_of_its_findings(name):
    result = check("--output-format", name)
    assert result.exit_code == 1
    assert result.stderr == ""
    assert "batchnorm-eps-position" in result.stdout
    assert re.search(r"\S\n\Z", result.stdout)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_gets_the_same_report_without_colours(name, tmp_path):
    target = tmp_path / "report"
    result = check("--output-format", name, "--output-file", str(target), FORCE_COLOR="1")
    assert (result.exit_code, result.output) == (1, "")
    assert target.read_bytes() == check("--output-format", name).stdout_bytes


@pytest.mark.parametrize("name", FORMATS)
def test_only_what_a_person_reads_is_coloured_and_wrapped(name):
    plain = check("--output-format", name).stdout
    assert "\x1b" not in plain
    assert check("--output-format", name, NO_COLOR="1", FORCE_COLOR="1").stdout == plain
    assert ("\x1b" in check("--output-format", name, FORCE_COLOR="1").stdout) == (name == "full")
    assert (check("--output-format", name, COLUMNS="60").stdout != plain) == (name == "full")


def test_a_file_that_cannot_be_written_is_one_line_and_exit_code_2(tmp_path):
    target = tmp_path / "gone" / "report.json"
    result = check("--output-format", "json", "--output-file", str(target))
    assert result.exit_code == 2
    assert result.stderr == f"modellint: {target}: the report cannot be written: No such file or directory\n"


def test_rules_are_described_as_they_were_asked():
    text = check("--output-format", "sarif", "--select", "ML116").stdout
    assert '"name": "batchnorm-eps-position"' in text
    assert '"name": "clip-after-step"' not in text
