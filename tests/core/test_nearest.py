from __future__ import annotations

from pathlib import Path

import pytest

from modellint.core.config import Settings
from modellint.core.nearest import Nearest


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with another one inside it that has settings of its own."""
    (tmp_path / "inner" / "deep").mkdir(parents=True)
    (tmp_path / "outer").mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.modellint]\nignore = ['ML140']\n")
    (tmp_path / "inner" / "pyproject.toml").write_text("[tool.modellint]\nselect = ['ML104']\n")
    (tmp_path / "outer" / "pyproject.toml").write_text("[project]\nname = 'no table for us'\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_nearest_table_above_a_file_holds(tree: Path) -> None:
    nearest = Nearest()
    assert nearest.of(tree / "inner" / "deep").select == ("ML104",)
    assert nearest.of(tree / "inner" / "deep").ignore == ()
    assert nearest.of(tree / "outer").ignore == ("ML140",)


def test_the_command_line_wins_over_every_file(tree: Path) -> None:
    nearest = Nearest(select=("ML101",), ignore=())
    assert [nearest.of(tree / folder).select for folder in ("inner", "outer")] == [("ML101",), ("ML101",)]
    assert nearest.of(tree / "outer").ignore == ("ML140",)


def test_one_settings_for_all_reads_no_file(tree: Path) -> None:
    (tree / "inner" / "pyproject.toml").write_text("[tool.modellint]\nselekt = []\n")
    assert Nearest(Settings(root=tree)).of(tree / "inner").select == ()


def test_files_above_which_there_is_none_take_those_of_the_current_directory(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert Nearest().of(tmp_path_factory.mktemp("elsewhere")).ignore == ("ML140",)
