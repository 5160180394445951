"""The registry of formats: discovered, lazy, and total over odd reports."""

from __future__ import annotations

import subprocess
import sys

import example_reports
import pytest

from modellint.report import FORMATS, render


def test_formats_are_the_modules_of_the_folder():
    assert {"full", "concise", "json", "markdown", "sarif", "github", "gitlab", "junit"} <= set(FORMATS)


def test_an_unknown_format_names_the_known_ones():
    with pytest.raises(ValueError, match="concise"):
        render(example_reports.EMPTY, "yaml")


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_is_drawn_without_a_library(name):
    code = (
        "import sys; from modellint.core.diagnostic import *; from modellint.report import render;"
        "finding = Diagnostic('r', 'ML1', Severity.ERROR, 'm', Location('x.py', 1), Verdict.CERTAIN);"
        f"render(Report((finding,)), {name!r}); sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", range(30))
def test_every_format_takes_any_report_and_says_the_same_twice(name, seed):
    report = example_reports.random_report(seed)
    text = render(report, name, color=False, width=80)
    assert text == render(example_reports.random_report(seed), name, color=False, width=80)
    assert not text or text.endswith("\n")
    assert not text.endswith("\n\n")
    text.encode("utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_steers_the_terminal(name):
    report = example_reports.with_message("red \x1b[31malert\x1b[0m \x07 \x9b31m and \x1b]0;title\x07 done\ufffe")
    text = render(report, name, color=False)
    assert not any(character in text for character in "\x1b\x07\x9b\ufffe")
    assert "alert" in text


@pytest.mark.parametrize("name", ["full", "concise", "markdown"])
def test_a_message_of_several_lines_stays_one(name):
    text = render(example_reports.with_message("first\n\nsecond\r\nthird"), name, color=False)
    assert "first second third" in text.lower()
