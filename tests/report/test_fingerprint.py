"""Which edits keep the identity of a finding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import example_reports as examples
import pytest

from modellint.core.diagnostic import Location
from modellint.report.fingerprint import fingerprints

CALL = "    optimizer = Adam(model.parameters(), lr=1.5)\n"


def written(text: str, line: int, path: str = "train.py", **changes: object) -> str:
    """The fingerprint of a finding at `line` of `path`, which holds `text`."""
    Path(path).write_text(text)
    return fingerprints([replace(examples.LARGE_RATE, location=Location(path, line, 5, line, 20), **changes)])[0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n\n\n" + CALL, 4),
        ("if True:\n" + 2 * " " + CALL, 2),
        (CALL.replace(" = ", "  =  "), 1),
        (CALL + "step()\n", 1),
    ],
    ids=["shifted", "indented", "spaced", "followed"],
)
def test_lines_that_shift_and_spaces_keep_it(text, line):
    assert written(text, line) == written(CALL, 1)


def test_other_numbers_in_the_message_and_another_verdict_keep_it():
    assert written(CALL, 1, message="norm 3.2", evidence=()) == written(CALL, 1, message="norm 4.7")


def test_another_line_another_rule_and_another_file_change_it():
    others = [
        written(CALL.replace("1.5", "2"), 1),
        written(CALL, 1, code="ML999"),
        written(CALL, 1, "other.py"),
        written(CALL, 1),
    ]
    assert len(set(others)) == 4


def test_equal_lines_are_told_apart_by_their_order():
    Path("train.py").write_text(CALL * 3)
    first, second, third = (replace(examples.LARGE_RATE, location=Location("train.py", line)) for line in (1, 2, 3))
    prints = fingerprints([first, second, third])
    assert len(set(prints)) == 3
    assert fingerprints([third, first, second]) == [prints[2], prints[0], prints[1]]


def test_the_folder_that_it_was_called_from_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub").mkdir()
    from_above = written(CALL, 1, "sub/train.py")
    monkeypatch.chdir("sub")
    assert written(CALL, 1, "train.py") == from_above


@pytest.mark.parametrize("seed", range(20))
def test_all_of_a_report_differ(seed):
    prints = fingerprints(examples.random_report(seed).diagnostics)
    assert len(set(prints)) == len(prints)


def test_a_line_that_cannot_be_decoded_has_an_identity_too(tmp_path):
    (tmp_path / "train.py").write_bytes(b"# coding: utf-16\nx = 1\n")
    place = Location(str(tmp_path / "train.py"), 1)
    assert fingerprints([replace(examples.LARGE_RATE, location=place)])
