from __future__ import annotations

import os
from pathlib import Path

import pytest

from modellint.core.errors import UsageError
from modellint.core.nearest import Nearest
from modellint.source import files


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    for name in ("train.py", "notes.ipynb", "notes.txt", "out/a.py", "out/keep.py", "lib/b.py", "venv/c.py", ".x/d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(*paths: str) -> list[str]:
    return [path.as_posix() for path in files.find(map(Path, paths), Nearest())]


def test_a_folder_gives_its_scripts_and_notebooks_in_order(tree: Path) -> None:
    assert found(".") == ["notes.ipynb", "train.py", "lib/b.py", "out/a.py", "out/keep.py"]
    assert found("train.py", ".", "train.py").count("train.py") == 1


def test_a_pipe_and_a_link_to_nowhere_are_no_files(tree: Path) -> None:
    os.mkfifo(tree / "lib" / "pipe.py")
    (tree / "lib" / ".#b.py").symlink_to("user@host.42")
    (tree / "lib" / "c.py").symlink_to("b.py")
    assert found("lib") == ["lib/b.py", "lib/c.py"]


def test_a_pipe_that_is_named_is_not_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "pipe.py")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        found("pipe.py")


def test_a_folder_that_cannot_be_read_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def closed(path: str) -> object:
        if Path(path).name == "out":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert found(".") == ["notes.ipynb", "train.py", "lib/b.py", "out"]


def test_git_leaves_out_what_it_ignores(tree: Path) -> None:
    (tree / ".gitignore").write_text("out/*\n*.ipynb\n!out/keep.py\n")
    (tree / "lib" / ".gitignore").write_text("/b.py\n")
    assert found(".") == ["train.py", "out/keep.py"]
    (tree / "lib" / ".gitignore").write_text("!/b.py\n")
    (tree / ".gitignore").write_text("b.py\n")
    assert "lib/b.py" in found(".")


def test_what_the_user_names_is_read(tree: Path) -> None:
    (tree / ".gitignore").write_text("out/\nlib/b.py\n")
    assert found("out", "lib/b.py") == ["out/a.py", "out/keep.py", "lib/b.py"]
    assert found("lib") == []


def test_a_gitignore_above_the_repository_says_nothing_of_it(tree: Path) -> None:
    (tree / "lib" / ".git").mkdir()
    (tree / ".gitignore").write_text("b.py\n")
    assert found("lib") == ["lib/b.py"]


def test_exclude_is_relative_to_its_own_pyproject(tree: Path) -> None:
    (tree / "pyproject.toml").write_text("[tool.modellint]\nexclude = ['/b.py', 'out/']\n")
    assert found(".") == ["notes.ipynb", "train.py", "lib/b.py"]
    (tree / "lib" / "pyproject.toml").write_text("[tool.modellint]\nextend = '..'\n")
    with pytest.raises(UsageError, match="extends"):
        found(".")
    (tree / "lib" / "pyproject.toml").write_text(
        "[tool.modellint]\nextend = '../pyproject.toml'\nexclude = ['/b.py']\n"
    )
    assert found(".") == ["notes.ipynb", "train.py"]


def test_a_path_that_does_not_exist(tree: Path) -> None:
    with pytest.raises(UsageError, match="absent"):
        found("absent")


def test_git_passes_over_lines_that_are_no_patterns_and_reads_what_one_clone_leaves_out(tree: Path) -> None:
    (tree / ".gitignore").write_bytes(b"\xef\xbb\xbflib/\r\n**a\\\r\n[z-a]\r\n")
    (tree / ".git" / "info").mkdir()
    (tree / ".git" / "info" / "exclude").write_text("notes.ipynb\n")
    assert found(".") == ["train.py", "out/a.py", "out/keep.py"]


def test_a_path_that_may_not_be_looked_at(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", denied)
    with pytest.raises(UsageError, match=r"train\.py: cannot be read: Permission denied"):
        found("train.py")
