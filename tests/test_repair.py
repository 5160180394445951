"""`check --fix` and `--diff` on files: what is written, what is not, what is said and how it exits."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modellint import Diagnostic, Fix, Location, Severity, Verdict
from modellint.cli import cli
from modellint.core import edit
from modellint.core.config import Settings
from modellint.repair import repair

START = """\
from torch.nn.utils import clip_grad_norm_

for x, y in loader:
    opt.zero_grad()
    loss = criterion(model(x), y)  # "é"
    loss.backward()
"""
STEP, CLIP = "    opt.step()\n", "    clip_grad_norm_(model.parameters(), 1.0)\n"
LATE, EARLY = START + STEP + CLIP, START + CLIP + STEP
HIGH = "norms = [nn.BatchNorm2d(8, 0.8), nn.BatchNorm2d(16, 0.8)]\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["check", "--isolated", *arguments])


def written(name: str, text: str) -> Path:
    path = Path(name)
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "encoded",
    [
        lambda text: text.encode(),
        lambda text: text.rstrip("\n").encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r\n", 3).encode(),
        lambda text: text.replace("    ", "\t").encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: ("# -*- coding: latin-1 -*-\n" + text).encode("latin-1"),
        lambda text: ("ü = 'ü'; x = 1\n\x0c\n" + text).encode(),
    ],
    ids=["plain", "no last newline", "crlf", "mixed newlines", "tabs", "byte order mark", "latin-1", "form feed"],
)
def test_only_the_fault_changes_byte_for_byte(encoded: Callable[[str], bytes]) -> None:
    path = Path("train.py")
    path.write_bytes(encoded(LATE))
    result = check("--fix", "train.py")
    assert path.read_bytes() == encoded(EARLY)
    assert result.exit_code == 0
    assert "1 finding fixed in 1 file" in result.stderr


def test_a_second_run_changes_nothing() -> None:
    path = written("train.py", LATE)
    check("--fix", "train.py")
    before = path.stat().st_mtime_ns
    assert "0 findings fixed" in check("--fix", "train.py").stderr
    assert path.stat().st_mtime_ns == before


def test_libcst_is_not_loaded_when_there_is_nothing_to_fix() -> None:
    written("train.py", EARLY)
    code = "import sys; from modellint.cli import cli; cli(sys.argv[1:], standalone_mode=False)"
    ended = f"import atexit, sys; atexit.register(lambda: print('libcst' in sys.modules)); {code}"
    command = [sys.executable, "-c", ended, "check", "--isolated", "--fix", "train.py"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "False")


def test_mode_and_link_stay() -> None:
    Path("real").mkdir()
    path = written("real/train.py", LATE)
    path.chmod(0o754)
    Path("train.py").symlink_to("real/train.py")
    check("--fix", "train.py")
    assert Path("train.py").is_symlink()
    assert path.read_text() == EARLY
    assert path.stat().st_mode & 0o777 == 0o754
    assert os.listdir("real") == ["train.py"]


def test_what_remains_is_reported_and_fails() -> None:
    written("train.py", LATE + HIGH)
    result = check("--fix", "--output-format", "concise", "train.py")
    assert result.exit_code == 1
    assert "batchnorm-eps-position" in result.stdout
    assert "train.py:9:" in result.stdout
    assert "clip-after-step" not in result.stdout
    assert "1 finding fixed in 1 file, 1 more with --unsafe-fixes" in result.stderr


def test_unsafe_fixes_are_made_when_asked_for_and_all_on_a_line() -> None:
    path = written("train.py", LATE + HIGH)
    result = check("--fix", "--unsafe-fixes", "train.py")
    assert result.exit_code == 0
    assert path.read_text() == EARLY + HIGH.replace("0.8", "momentum=0.2")
    assert "3 findings fixed" in result.stderr


def test_a_report_names_the_option_that_mends() -> None:
    written("train.py", LATE + HIGH)
    fixes = [line.split()[-1] for line in check("train.py").stdout.splitlines() if "= fix:" in line]
    assert fixes == ["--fix", "--unsafe-fixes"]


def test_unsafe_fixes_alone_are_a_usage_error() -> None:
    written("train.py", LATE)
    result = check("--unsafe-fixes", "train.py")
    assert "--fix or --diff" in str(result.exception)


def test_diff_writes_nothing_and_can_be_applied() -> None:
    Path("sub").mkdir()
    one = written("sub/train.py", LATE.replace("\n", "\r\n"))
    other = written("other.py", LATE.rstrip("\n"))
    result = check("--diff", ".")
    assert result.exit_code == 1
    assert "2 findings would be fixed in 2 files" in result.stderr
    assert (one.read_bytes(), other.read_bytes()) == (LATE.replace("\n", "\r\n").encode(), LATE.rstrip("\n").encode())
    command = ["git", "apply", "-p0", "--whitespace=nowarn"]
    subprocess.run(command, input=result.stdout_bytes, check=True, timeout=60)
    assert (one.read_bytes(), other.read_bytes()) == (EARLY.replace("\n", "\r\n").encode(), EARLY.rstrip("\n").encode())
    assert check("--diff", ".").exit_code == 0


def test_an_ignored_finding_is_not_fixed() -> None:
    path = written(
        "train.py", LATE.replace(CLIP, CLIP.rstrip("\n") + "  # modellint: ignore[clip-after-step] logged only\n")
    )
    text = path.read_text()
    assert check("--fix", "train.py").exit_code == 0
    assert path.read_text() == text


def test_a_file_that_libcst_cannot_parse_is_reported_and_left_alone() -> None:
    path = written("train.py", "(limit): int = 1\n" + LATE)
    other = written("other.py", LATE)
    result = check("--fix", "--output-format", "concise", ".")
    assert result.exit_code == 1
    assert path.read_text() == "(limit): int = 1\n" + LATE
    assert other.read_text() == EARLY
    assert "clip-after-step is not fixed: LibCST cannot parse the file" in result.stderr
    assert "train.py:9:" in result.stdout


def test_a_file_whose_encoding_does_not_come_back_is_left_alone() -> None:
    data = b"# coding: utf-7\nname = '+AGE-'\n" + LATE.replace("é", "e").encode("utf-7")
    path = Path("train.py")
    path.write_bytes(data)
    result = check("--fix", "train.py")
    assert result.exit_code == 1
    assert path.read_bytes() == data
    assert "cannot be written back as utf-7" in result.stderr


def test_a_file_that_is_read_only_is_reported_and_the_others_are_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = written("train.py", LATE), written("other.py", LATE)
    monkeypatch.setattr(os, "access", lambda path, mode: path != "train.py")
    result = check("--fix", "--output-format", "concise", ".")
    assert result.exit_code == 1
    assert (path.read_text(), other.read_text()) == (LATE, EARLY)
    assert "train.py:8:5 clip-after-step is not fixed: the file is read-only" in result.stderr
    assert "1 finding fixed in 1 file" in result.stderr
    assert "+    clip_grad_norm_" in check("--diff", ".").stdout  # to be shown it need not be writable


def test_a_mended_file_stays_with_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    path = written("train.py", LATE)
    owner = path.stat()
    monkeypatch.setattr(os, "geteuid", lambda: owner.st_uid + 1)
    monkeypatch.setattr(os, "chown", lambda _, user, group: given.append((user, group)))
    assert check("--fix", "train.py").exit_code == 0
    assert given == [(owner.st_uid, owner.st_gid)]


def test_what_the_baseline_knows_is_not_fixed() -> None:
    path, other = written("train.py", LATE), written("other.py", LATE)
    check("--baseline", "known.json", "--write-baseline", "train.py")
    result = check("--fix", "--baseline", "known.json", ".")
    assert result.exit_code == 0
    assert (path.read_text(), other.read_text()) == (LATE, EARLY)
    assert "1 finding of known.json left out" in result.stderr


def test_fixed_standard_input_goes_to_standard_output_and_the_report_to_the_other_one() -> None:
    command = ["check", "--isolated", "--fix", "--output-format", "concise", "-", "--stdin-filename"]
    for text, encoded in ((LATE, EARLY), (LATE.replace("\n", "\r\n"), EARLY.replace("\n", "\r\n")), ("x = 1", "x = 1")):
        result = CliRunner().invoke(cli, [*command, "new/train.py"], input=text.encode())
        assert (result.stdout_bytes, result.exit_code) == (encoded.encode(), 0)
    result = CliRunner().invoke(cli, [*command, "train.py"], input=(LATE + HIGH).encode())
    assert (result.stdout, result.exit_code) == (EARLY + HIGH, 1)
    assert "train.py:9:" in result.stderr
    assert not os.listdir()


def test_what_is_quoted_of_fixed_standard_input_is_the_fixed_text() -> None:
    given = LATE.replace("    loss.backward()", "    s = '\x0b\u2028'; loss.backward()") + HIGH
    result = CliRunner().invoke(cli, ["check", "--isolated", "--fix", "-"], input=given.encode())
    assert " 9 | norms = [" in result.stderr


def test_a_diff_of_standard_input() -> None:
    command = ["check", "--isolated", "--diff", "-", "--stdin-filename", "train.py"]
    result = CliRunner().invoke(cli, command, input=LATE.encode())
    assert result.exit_code == 1
    assert result.stdout.startswith("--- train.py\n+++ train.py\n@@")
    assert not os.listdir()


def test_a_fix_in_a_notebook_is_left_to_the_user() -> None:
    cell = {"cell_type": "code", "source": LATE.splitlines(keepends=True)}
    path = written("train.ipynb", json.dumps({"cells": [cell]}))
    before = path.read_text()
    result = check("--fix", "train.ipynb")
    assert (result.exit_code, path.read_text()) == (1, before)
    assert "1 fix must be made by hand: notebooks are not changed" in result.stderr


def test_a_notebook_is_left_alone() -> None:
    rewrite = Fix((edit.delete(Location("train.py", 1, 1, 1, 2)),))
    finding = Diagnostic(
        "r", "ML100", Severity.ERROR, "m", Location("train.ipynb", 1), Verdict.CERTAIN, rewrite=rewrite
    )
    assert finding.mended_by == ""
    assert replace(finding, location=Location("train.py", 1)).mended_by == "--fix"
    assert replace(finding, location=Location("train.py", 1), verdict=Verdict.SUSPECTED).mended_by == "--unsafe-fixes"


def test_a_file_with_a_syntax_error_is_reported_and_left_alone() -> None:
    path = written("train.py", LATE + "for\n")
    result = check("--fix", "train.py")
    assert result.exit_code == 1
    assert path.read_text() == LATE + "for\n"
    assert "syntax error" in result.stdout


def test_a_file_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    path = written("train.py", LATE)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refused)
    result = check("--fix", "train.py")
    assert "train.py: the file cannot be written: Permission denied" in str(result.exception)
    assert path.read_text() == LATE
    assert os.listdir() == ["train.py"]


RULE = '''
from modellint import Diagnostic, Fix, Severity, SourceRule
from modellint.core import edit


class Calls(SourceRule):
    """A call of a function that is not wanted."""

    code, severity, certain = "ML999", Severity.WARNING, True
    words = ("old", "worse", "broken")

    def check(self, script):
        for call in script.calls:
            if call.name in ("old", "worse", "broken"):
                yield self.at(call, f"calls `{{call.name}}`")

    def fix(self, finding, script):
        call = next(call for call in script.calls if call.location == finding.location)
        return Fix((edit.replace(call, {texts}[call.name]),))
'''


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("worse({0}) + worse({0})", "it would still be found"),
        ("old({0}) + worse({0})", "it would still be found"),
        ("(yield {0})", "does not compile"),
    ],
)
def test_a_fix_that_does_not_help_is_taken_back_and_the_others_are_made(text: str, reason: str) -> None:
    texts = {"old": "new({0})", "broken": text}
    written("calls.py", inspect.cleandoc(RULE.format(texts=texts)))
    source = "for x in y:\n    old(1)\n    broken(2)  # keep\n    old(3)\n"
    path = written("train.py", source)
    settings = Settings(root=Path().resolve(), rule_paths=("calls.py",), select=("ML999",))
    result = repair([path], settings)
    assert result.edited == {"train.py": source.replace("old", "new").encode()}
    assert result.solved == 2
    (left,) = result.left
    assert (left.finding.location.line, reason in left.reason) == (3, True)
    assert [d.location.line for d in result.report.diagnostics] == [3]


def test_a_fix_that_fails_is_no_traceback() -> None:
    written("calls.py", inspect.cleandoc(RULE.format(texts={})))
    path = written("train.py", "old(1)\n")
    settings = Settings(root=Path().resolve(), rule_paths=("calls.py",), select=("ML999",))
    result = repair([path], settings)
    assert not result.edited
    assert [d.rule for d in result.report.diagnostics] == ["calls"]
    assert "KeyError" in result.report.unchecked[0].reason


def test_only_the_files_that_are_checked_are_fixed() -> None:
    written("calls.py", inspect.cleandoc(RULE.format(texts={"old": "new({0})"})).replace("script.calls", "CALLS"))
    rule = Path("calls.py").read_text()
    beside = "Value('call', 'old', location=Location('beside.py', 1, 1, 1, 7))"
    rule = rule.replace("class Calls", f"CALLS = ({beside},)\n\n\nclass Calls")
    written("calls.py", "from modellint import Location\nfrom modellint.source.code import Value\n" + rule)
    path, beside = written("train.py", "old(1)\n"), written("beside.py", "old(1)\n")
    settings = Settings(root=Path().resolve(), rule_paths=("calls.py",), select=("ML999",))
    result = repair([path], settings)
    assert not result.edited
    assert [(left.finding.location.path, left.reason) for left in result.left] == [
        ("beside.py", "the file is not among those that are checked")
    ]


SICK = Path(__file__).parents[1] / "fixtures" / "sick"


@pytest.mark.parametrize("style", ["as it is", "crlf", "tabs"])
@pytest.mark.parametrize("unsafe", [False, True])
def test_the_fixtures_compile_and_are_quiet_for_what_was_fixed(style: str, unsafe: bool) -> None:
    shutil.copytree(SICK, "sick")
    for path in Path("sick").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        styled = {"as it is": text, "crlf": text.replace("\n", "\r\n"), "tabs": text.replace("    ", "\t")}[style]
        path.write_bytes(styled.encode())
    files = sorted(Path("sick").rglob("*.py"))
    first = repair(files, Settings(root=Path().resolve()), unsafe=unsafe)
    assert first.solved >= (5 if unsafe else 3)
    assert not first.left
    for name, data in first.edited.items():
        compile(data, name, "exec")
        Path(name).write_bytes(data)
    again = repair(files, Settings(root=Path().resolve()), unsafe=unsafe)
    assert not again.edited
    assert again.report.diagnostics == first.report.diagnostics
    assert not [d for d in again.report.diagnostics if d.mended_by == "--fix" or (unsafe and d.mended_by)]
