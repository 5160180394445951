"""The commands as a user types them, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SICK = """\
import os
import torch
from torch import nn

os.system("touch pwned")
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
"""


def modellint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modellint", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def sick(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SICK)
    return tmp_path


def test_check_finds_and_executes_nothing(sick: Path) -> None:
    result = modellint(sick, "check", "train.py")
    assert result.returncode == 1
    assert "clip-after-step" in result.stdout
    assert "train.py:12:" in result.stdout
    assert not (sick / "pwned").exists()


def test_json_keeps_the_contract(sick: Path) -> None:
    report = json.loads(modellint(sick, "check", "--output-format", "json", ".").stdout)
    assert report["schema"] == "modellint/1"
    (finding,) = [d for d in report["diagnostics"] if d["rule"] == "clip-after-step"]
    assert (finding["code"], finding["severity"], finding["verdict"]) == ("ML104", "error", "certain")
    assert (finding["location"]["path"], finding["location"]["line"]) == ("train.py", 12)
    assert set(report) >= {"diagnostics", "passed", "run", "settings"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check", "train.py"], 1),
        (["check", "--exit-zero", "train.py"], 0),
        (["check", "--fail-on", "never", "train.py"], 0),
        (["check", "--ignore", "clip-after-step", "train.py"], 0),
        (["check", "--select", "ML116", "train.py"], 0),
        (["check", "--select", "ML116, ML107", "train.py"], 0),
        (["check", "absent.py"], 2),
        (["check", "--select", "no-such-rule", "train.py"], 2),
        (["check", "--no-such-option"], 2),
        (["explain", "no-such-rule"], 2),
        (["probe"], 2),
    ],
)
def test_exit_codes(sick: Path, arguments: list[str], code: int) -> None:
    result = modellint(sick, *arguments)
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_options_of_the_users_command_belong_behind_the_dashes(sick: Path) -> None:
    result = modellint(sick, "probe", "train.py", "--lr", "0.1")
    assert result.returncode == 2
    assert "modellint probe -- train.py" in result.stderr


def test_the_nearest_pyproject_is_heeded(sick: Path) -> None:
    (sick / "pyproject.toml").write_text("[tool.modellint.per-file-ignores]\n'tr*.py' = ['clip-after-step']\n")
    assert modellint(sick, "check", "train.py").returncode == 0
    assert modellint(sick, "check", "--isolated", "train.py").returncode == 1
    (sick / "pyproject.toml").write_text("[tool.modellint]\nselekt = []\n")
    broken = modellint(sick, "check", "train.py")
    assert broken.returncode == 2
    assert "pyproject.toml" in broken.stderr
    assert "selekt" in broken.stderr


def test_a_comment_silences_and_an_unused_one_is_reported(sick: Path) -> None:
    comment = "  # modellint: ignore[clip-after-step] to show it"
    (sick / "train.py").write_text(SICK.rstrip("\n") + comment + "\n")
    assert modellint(sick, "check", "train.py").returncode == 0
    (sick / "train.py").write_text(SICK.replace("import os", "import os" + comment))
    assert "unused-ignore" in modellint(sick, "check", "train.py").stdout


def test_a_file_that_cannot_be_parsed_is_a_diagnostic_and_the_rest_is_linted(sick: Path) -> None:
    (sick / "broken.py").write_text("loss.backward()\ndef step(:\n")
    result = modellint(sick, "check", "--output-format", "concise", ".")
    assert result.returncode == 1
    assert "broken.py:2:" in result.stdout
    assert "clip-after-step" in result.stdout


@pytest.mark.parametrize("options", [[], ["--output-format", "concise"]])
def test_a_report_that_finds_no_room_is_one_line_and_exit_code_2(sick: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "modellint", "check", *options, "train.py"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, cwd=sick, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "modellint: the report cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("ML101", "certain by reading"),
        ("ML140", "suspected until measured"),
        ("ML201", "suspected until measured"),
        ("ML302", "measured"),
        ("ML481", "suspected by reading"),
    ],
)
def test_explain_tells_how_sure_a_rule_is(tmp_path: Path, rule: str, told: str) -> None:
    assert modellint(tmp_path, "explain", rule).stdout.splitlines()[0].endswith(f" · {told}")


def test_explain_and_rules(tmp_path: Path) -> None:
    text = modellint(tmp_path, "explain", "ML104").stdout
    assert all(part in text for part in ("clip-after-step", "Why it hurts", "Bad", "Good", "optimizer.step()"))
    listing = modellint(tmp_path, "rules").stdout
    assert "ML104  clip-after-step" in listing
    assert modellint(tmp_path, "explain", "ML000").stdout.startswith("unreadable-file (ML000)")
    assert modellint(tmp_path, "explain", "unused-ignore").returncode == 0
    assert modellint(tmp_path, "explain", "clip-after-stp").stderr.count("did you mean clip-after-step") == 1


def test_user_rules_are_tested_by_their_own_examples(tmp_path: Path) -> None:
    rule = tmp_path / "house_rule.py"
    rule.write_text(
        "from modellint import SourceRule\n\n\nclass House(SourceRule):\n"
        '    """No banana.\n\n    Why: w.\n\n    Fix: f.\n\n    Ignore: i.\n    """\n\n'
        '    code, words = "HR1", ("banana",)\n    bad = "banana()"\n    good = "apple()"\n\n'
        "    def check(self, script):\n"
        '        return (self.at(c, "banana") for c in script.calls if c.name == "banana")\n'
    )
    assert modellint(tmp_path, "test", "house_rule.py").returncode == 0
    rule.write_text(rule.read_text().replace('good = "apple()"', 'good = "banana()"'))
    failed = modellint(tmp_path, "test", "house_rule.py")
    assert failed.returncode == 1
    assert "good example 1 is found" in failed.stdout


@pytest.mark.parametrize("command", ["check train.py", "rules", "explain ML104", "--help"])
def test_reading_imports_neither_torch_nor_libcst(sick: Path, command: str) -> None:
    program = (
        "import sys, modellint.cli\n"
        f"try: modellint.cli.cli({command.split()!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'libcst'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=sick, capture_output=True, text=True, timeout=60)
    assert result.stderr.strip().splitlines()[-1] == "[]"


def test_files_that_are_called_as_modules_of_python_are_not_imported(sick: Path) -> None:
    for name in ("copy", "random", "tokenize", "click", "linecache"):
        (sick / f"{name}.py").write_text("raise SystemExit('imported')\n")
    found = modellint(sick, "check", "--fix", "--diff", "train.py")
    assert (found.returncode, found.stdout[:3]) == (1, "---")
