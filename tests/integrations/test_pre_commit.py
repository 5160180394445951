"""The shipped hook, run by the real pre-commit in a scratch repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SICK = (ROOT / "fixtures/sick/char_tagger.py").read_text(encoding="utf-8")
HEALTHY = (ROOT / "fixtures/healthy/char_tagger.py").read_text(encoding="utf-8")


def sh(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return sh(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments)


@pytest.mark.heavy
def test_the_hook_finds_the_fault_and_passes_the_cure(tmp_path: Path) -> None:
    hook, scratch = tmp_path / "modellint", tmp_path / "scratch"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(hook))
    revision = git(hook, "rev-parse", "HEAD").stdout.strip()
    scratch.mkdir()
    git(scratch, "init", "--quiet")
    (scratch / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {hook}\n  rev: {revision}\n"
        "  hooks:\n  - id: modellint\n    args: [--output-format, concise]\n"
    )
    (scratch / "train.py").write_text(SICK)
    git(scratch, "add", ".")
    found = sh(scratch, sys.executable, "-m", "pre_commit", "run", "--all-files")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "clip-after-step" in found.stdout
    (scratch / "train.py").write_text(HEALTHY)
    git(scratch, "add", ".")
    cured = sh(scratch, sys.executable, "-m", "pre_commit", "run", "--all-files")
    assert cured.returncode == 0, cured.stdout + cured.stderr
