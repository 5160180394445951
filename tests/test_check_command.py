"""The options of `modellint check`, as a user types them."""

from __future__ import annotations

import gc
import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from modellint import survey
from modellint.cli import cli, main, watching
from modellint.core.errors import UsageError

TRAINING = """\
import torch

for x, y in loader:
    optimizer.zero_grad()
    loss(model(x), y).backward()
    optimizer.step()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
"""
FINDING = "train.py:7:5: error[ML104 clip-after-step]"


def modellint(folder: Path, *options: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modellint", "check", "--select", "ML104", "--output-format", "concise", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, input=given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAINING)
    return tmp_path


def test_standard_input_is_taken_for_the_file_that_is_named(folder: Path) -> None:
    found = modellint(folder, "-", "--stdin-filename", "new/train.py", given=TRAINING)
    assert found.stdout.startswith("new/train.py:7:5: error[ML104")
    assert found.returncode == 1
    assert modellint(folder, "-", given=TRAINING).stdout.startswith("-:7:5: error[ML104")
    assert modellint(folder, "-", "--stdin-filename", "train.py", given="x = 1\n").stdout == ""
    assert modellint(folder, "-", "train.py", given="").returncode == 2
    assert modellint(folder, "-", "--add-ignores", given=TRAINING).returncode == 2
    assert modellint(folder, "-", "--watch", given=TRAINING).returncode == 2
    assert modellint(folder, "-", "--stdin-filename", "x.ipynb", given="{}").returncode == 2


def test_what_is_quoted_of_standard_input_is_not_the_file_on_the_disk(folder: Path) -> None:
    command = [sys.executable, "-m", "modellint", "check", "-", "--stdin-filename", "train.py"]
    edited = TRAINING.replace("1.0)", "0.5)")
    quoted = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, input=edited).stdout
    assert "0.5)" in quoted
    assert "1.0)" not in quoted


def test_settings_of_the_nearest_pyproject_hold_for_standard_input(folder: Path) -> None:
    (folder / "quiet").mkdir()
    (folder / "quiet" / "pyproject.toml").write_text(
        "[tool.modellint.per-file-ignores]\n'*.py' = ['clip-after-step']\n"
    )
    assert modellint(folder, "-", "--stdin-filename", "quiet/x.py", given=TRAINING).stdout == ""
    assert modellint(folder, "-", "--stdin-filename", "loud/x.py", given=TRAINING).returncode == 1


def test_show_files_and_show_settings_end_the_command(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.modellint]\nexclude = ['old']\n")
    shown = modellint(folder, "--show-files")
    assert (shown.returncode, shown.stdout) == (0, "train.py\n")
    settings = modellint(folder, "--show-settings").stdout
    assert 'exclude = ["old"]' in settings
    assert 'select = ["ML104"]' in settings
    assert str(folder / "pyproject.toml") in settings


def test_statistics_count_findings_by_rule(folder: Path) -> None:
    (folder / "other.py").write_text(TRAINING)
    counted = modellint(folder, "--statistics")
    assert counted.stdout.split() == ["2", "ML104", "clip-after-step", "(error)"]
    assert counted.returncode == 1


def test_a_baseline_lets_only_new_findings_count(folder: Path) -> None:
    assert modellint(folder, "--baseline", "known.json").returncode == 2
    assert modellint(folder, "--write-baseline").returncode == 2
    assert modellint(folder, "--baseline", "known.json", "--write-baseline").returncode == 0
    assert modellint(folder, "--baseline", "known.json").returncode == 0
    (folder / "train.py").write_text("# a line more\n\n" + TRAINING)
    shifted = modellint(folder, "--baseline", "known.json")
    assert (shifted.stdout, shifted.returncode) == ("", 0)
    (folder / "train.py").write_text(TRAINING + TRAINING)
    second = modellint(folder, "--baseline", "known.json")
    assert second.stdout.count("ML104") == 1
    assert second.returncode == 1
    (folder / "train.py").write_text("x = 1\n")
    assert "1 no longer found" in modellint(folder, "--baseline", "known.json").stderr


@pytest.mark.parametrize("content", ["", "[]", '{"findings": 3}', '{"findings": [{}]}', "\xff"])
def test_a_file_that_is_no_baseline(folder: Path, content: str) -> None:
    (folder / "known.json").write_text(content, encoding="latin-1")
    found = modellint(folder, "--baseline", "known.json")
    assert found.returncode == 2
    assert "known.json" in found.stderr


def test_comments_are_added_once(folder: Path) -> None:
    assert modellint(folder, "--add-ignores").returncode == 0
    text = (folder / "train.py").read_text()
    assert text == TRAINING.rstrip("\n") + "  # modellint: ignore[clip-after-step]\n"
    found = modellint(folder, "--add-ignores")
    assert (found.stdout, found.returncode) == ("", 0)
    assert (folder / "train.py").read_text() == text


def test_each_file_obeys_the_pyproject_nearest_to_it(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "train.py").write_text(TRAINING)
    (folder / "pyproject.toml").write_text("[tool.modellint.per-file-ignores]\n'train.py' = ['ML104']\n")
    assert modellint(folder, ".").stdout.count("ML104") == 1
    (folder / "sub" / "pyproject.toml").write_text("[tool.modellint]\n")
    (folder / "pyproject.toml").write_text("[tool.modellint.per-file-ignores]\n'*' = ['ML104']\n")
    assert modellint(folder, ".").stdout.startswith("sub/train.py")
    (folder / "sub" / "pyproject.toml").write_text("[tool.modellint]\nextend = '../pyproject.toml'\n")
    assert modellint(folder, ".").stdout == ""


def test_watching_needs_watchfiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(UsageError, match="modellint\\[watch\\]"):
        watching.forever((), lambda: None)


def test_watching_goes_on_after_what_the_user_can_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("watchfiles")
    rounds: list[int] = []
    script = tmp_path / "train.py"

    def again() -> None:
        rounds.append(len(rounds))
        if len(rounds) < 3:
            threading.Timer(0.3, script.write_text, [str(len(rounds))]).start()
            raise UsageError("half a file")
        raise click.Abort

    with pytest.raises(click.Abort):
        watching.forever([tmp_path], again)
    assert rounds == [0, 1, 2]
    assert capsys.readouterr().err.count("half a file") == 2


@pytest.mark.parametrize(
    ("path", "matters"),
    [("a/train.py", True), ("a/nb.ipynb", True), ("a/pyproject.toml", True), ("a/x.pt", False),
     (".modellint_cache/check/x.py", False)],
)  # fmt: skip
def test_only_what_can_change_the_findings_is_watched(path: str, matters: bool) -> None:
    assert watching._matters(None, path) == matters


def test_the_report_in_json_names_the_rules_that_were_asked(folder: Path) -> None:
    report = json.loads(modellint(folder, "--output-format", "json").stdout)
    assert report["settings"]["rules"] == ["clip-after-step"]


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("tests/helpers/models.py", ""),
        ("checks/steps.py", "import pytest\n"),
        ("checks/mocks.py", "from unittest import mock\n"),
    ],
)
def test_the_faults_of_a_test_suite_are_notes(folder: Path, path: str, first: str) -> None:
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_text(first + TRAINING)
    found = modellint(folder, path)
    assert "note[ML104" in found.stdout
    assert found.returncode == 0
    assert modellint(folder, "--fail-on", "note", path).returncode == 1


def test_what_a_test_is_only_suspected_of_is_not_told(folder: Path) -> None:
    large = "import torch\noptimizer = torch.optim.Adam(torch.nn.Linear(2, 2).parameters(), lr=1.0)\n"
    for path, first, told in (("train.py", "", True), ("checks.py", "import pytest\n", False)):
        (folder / path).write_text(first + large)
        found = modellint(folder, "--select", "large-learning-rate", path)
        assert ("ML140" in found.stdout) == told, found.stdout


def test_a_script_that_tests_a_model_is_no_test_suite(folder: Path) -> None:
    (folder / "test_net.py").write_text(TRAINING)
    assert modellint(folder, "test_net.py").returncode == 1


@pytest.mark.parametrize("source", ["import torch\n", "for x in loader:\n    loss.backward()\n    opt.step\n"])
def test_without_options_the_report_is_the_same(tmp_path: Path, source: str) -> None:
    (tmp_path / "train.py").write_text(source)
    command = [sys.executable, "-m", "modellint", "check", "train.py", "--no-cache"]
    plain, read = (
        subprocess.run([*command, *options], cwd=tmp_path, capture_output=True)
        for options in ([], ["--fail-on", "warning"])
    )
    assert (plain.returncode, plain.stdout, plain.stderr) == (read.returncode, read.stdout, read.stderr)
    assert plain.returncode == int("opt.step" in source)


def test_a_name_for_standard_input_is_enough_to_read_it(folder: Path) -> None:
    found = modellint(folder, "--stdin-filename", "train.py", given=TRAINING)
    assert (found.returncode, found.stdout[: len(FINDING)]) == (1, FINDING)
    assert "goes with no other path" in modellint(folder, "--stdin-filename", "x.py", "train.py", given="").stderr


def test_statistics_in_json_and_in_no_format_that_has_none(folder: Path) -> None:
    counted = {"code": "ML104", "rule": "clip-after-step", "severity": "error", "count": 1}
    assert json.loads(modellint(folder, "--statistics", "--output-format", "json", ".").stdout) == [counted]
    refused = modellint(folder, "--statistics", "--output-format", "sarif", ".")
    assert (refused.returncode, "full, concise or json" in refused.stderr) == (2, True)


def test_a_baseline_knows_the_findings_of_a_file_that_was_renamed(folder: Path) -> None:
    modellint(folder, "--baseline", "known.json", "--write-baseline", ".")
    (folder / "train.py").rename(folder / "fit.py")
    assert modellint(folder, "--baseline", "known.json", ".").returncode == 0
    (folder / "copy.py").write_text(TRAINING)
    assert modellint(folder, "--baseline", "known.json", ".").stdout.count("ML104") == 1
    (folder / "train.py").write_text(TRAINING)  # and what is there is not taken for something else
    assert modellint(folder, "--baseline", "known.json", ".").stdout.count("ML104") == 2


def test_comments_are_not_written_into_a_read_only_file_or_a_notebook(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = {"cell_type": "code", "source": TRAINING}
    (folder / "notes.ipynb").write_text(json.dumps({"cells": [cell]}))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "access", lambda path, mode: path != "train.py")
    with pytest.raises(SystemExit):
        cli.main(["check", "--isolated", "--select", "ML104", "--add-ignores", "."], standalone_mode=False)
    assert (folder / "train.py").read_text() == TRAINING
    told = capsys.readouterr().err
    assert "train.py gets no comment: the file is read-only" in told
    assert "1 finding must be silenced by hand: notebooks are not changed" in told


def test_what_is_excluded_is_left_out_even_if_it_is_named(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.modellint]\nexclude = ['old/']\n")
    (folder / "old").mkdir()
    (folder / "old" / "train.py").write_text(TRAINING)
    assert modellint(folder, "old/train.py").returncode == 1
    left_out = modellint(folder, "--force-exclude", "old/train.py", "train.py")
    assert (left_out.returncode, left_out.stdout.count("ML104")) == (1, 1)


def test_nothing_to_read_is_said(folder: Path) -> None:
    (folder / "empty").mkdir()
    found = modellint(folder, "empty")
    assert (found.returncode, found.stderr) == (0, "modellint: there is no Python file or notebook to read\n")


@pytest.mark.parametrize("options", [(), ("--output-format", "json"), ("--statistics",)])
def test_a_closed_standard_output_is_no_fault_of_ours(folder: Path, options: tuple[str, ...]) -> None:
    command = shlex.join([sys.executable, "-m", "modellint", "check", "train.py", *options])
    found = subprocess.run(f"{command} >&-", shell=True, cwd=folder, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stderr) == (1, "")


def test_a_closed_standard_input_is_named(folder: Path) -> None:
    command = shlex.join([sys.executable, "-m", "modellint", "check", "-"])
    found = subprocess.run(f"{command} <&-", shell=True, cwd=folder, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stderr) == (2, "modellint: standard input is closed\n")


@pytest.mark.parametrize("options", [["check", "train.py"], ["check", "train.py", "--statistics"]])
def test_an_interrupt_is_told_from_findings(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(folder)
    monkeypatch.setattr(survey, "check", interrupted)
    monkeypatch.setattr(sys, "argv", ["modellint", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    gc.enable()
    assert (ended.value.code, capsys.readouterr().err.strip()) == (130, "Aborted!")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("ignore = ['clip-after-stp']", "did you mean clip-after-step"),
        ("ignore = ['ml104']", "did you mean ML104?"),
        (
            "[tool.modellint.per-file-ignores]\n'*.py' = ['ML9']",
            "[tool.modellint.per-file-ignores] no rule is called 'ML9'",
        ),
        ("[tool.modellint.rules.clip-treshold]\nlargest = 1.0", "did you mean clip-threshold?"),
        ("per_file_ignores = 3", "did you mean per-file-ignores?"),
        ("exclude = ['**a\\']", "exclude: Invalid git pattern"),
    ],
)
def test_a_name_in_the_settings_that_is_none_is_told_with_what_may_be_meant(
    folder: Path, table: str, told: str
) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.modellint]\n{table}\n")
    found = modellint(folder, ".")
    assert (found.returncode, found.stdout) == (2, "")
    assert told in found.stderr


def test_what_modellint_says_itself_can_be_ignored_too(folder: Path) -> None:
    (folder / "train.py").write_text("x = 1  # modellint: ignore[clip-after-step]\n")
    assert "1:8: note[ML001 unused-ignore]" in modellint(folder, ".").stdout
    assert modellint(folder, "--ignore", "ML001", ".").stdout == ""
    (folder / "pyproject.toml").write_text("[tool.modellint.per-file-ignores]\n'*.py' = ['unused-ignore']\n")
    assert modellint(folder, ".").stdout == ""


def test_a_command_that_is_none_is_told_with_the_nearest() -> None:
    found = subprocess.run([sys.executable, "-m", "modellint", "chek"], capture_output=True, text=True, timeout=120)
    assert (found.returncode, "did you mean check?" in found.stderr) == (2, True)
