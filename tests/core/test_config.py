from __future__ import annotations

from pathlib import Path

import pytest

from modellint.core import config
from modellint.core.errors import UsageError


def settings(folder: Path, text: str) -> config.Settings:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return config.load(folder)


def test_reads_the_nearest_table_above(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'without a modellint table'\n")
    (tmp_path / "pyproject.toml").write_text("[tool.modellint]\nignore = ['ML140']\nextend-select = ['ML3']\n")
    found = config.load(deep)
    assert (found.root, found.ignore, found.extend_select) == (tmp_path, ("ML140",), ("ML3",))


def test_per_rule_options_and_per_file_ignores(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        "[tool.modellint.per-file-ignores]\n'tests/*' = ['ML1']\n[tool.modellint.rules.clip-threshold]\nlargest = 10\n",
    )
    assert found.per_file_ignores == {"tests/*": ("ML1",)}
    assert found.rules == {"clip-threshold": {"largest": 10}}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[tool.modellint]\nselekt = []\n", "selekt"),
        ("[tool.modellint]\nselect = 'ML1'\n", "select must be a list of strings"),
        ("[tool.modellint\n", "not valid TOML"),
        ("[tool]\nmodellint = 3\n", "must be a table"),
        ("[tool.modellint.rules]\nclip-threshold = 3\n", "clip-threshold"),
    ],
)
def test_says_which_file_and_key_is_wrong(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        settings(tmp_path, text)
    assert str(tmp_path / "pyproject.toml") in str(caught.value)


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    found = settings(tmp_path, "[tool.modellint]\nselect = ['ML1']\nignore = ['ML140']\n")
    assert found.but(select=("ML3",), ignore=()).select == ("ML3",)
    assert found.but(select=("ML3",), ignore=()).ignore == ("ML140",)


def test_extend_takes_over_what_is_not_set_here(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "pyproject.toml").write_text(
        "[tool.modellint]\nselect = ['ML1']\nignore = ['ML140']\nextend-select = ['ML201']\nexclude = ['old/*']\n"
        "[tool.modellint.rules.clip-threshold]\nlargest = 10.0\nsmallest = 1.0\n"
        "[tool.modellint.per-file-ignores]\n'inner/*' = ['ML104']\n"
    )
    found = settings(
        tmp_path / "inner",
        "[tool.modellint]\nextend = '../pyproject.toml'\nignore = ['ML107']\nextend-select = ['ML301']\n"
        "[tool.modellint.rules.clip-threshold]\nlargest = 20.0\n",
    )
    assert (found.select, found.ignore, found.extend_select) == (("ML1",), ("ML107",), ("ML201", "ML301"))
    assert found.rules == {"clip-threshold": {"largest": 20.0, "smallest": 1.0}}
    assert [(level.root, level.exclude) for level in found.lineage] == [
        (tmp_path / "inner", ()),
        (tmp_path, ("old/*",)),
    ]


@pytest.mark.parametrize(
    ("extended", "named"),
    [("pyproject.toml", "leads back"), ("../absent.toml", "absent.toml"), ("../pyproject.toml", "no \\[tool.modell")],
)
def test_extend_must_lead_to_other_settings(tmp_path: Path, extended: str, named: str) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'modellint is only named here'\n")
    (tmp_path / "inner").mkdir()
    with pytest.raises(UsageError, match=named):
        settings(tmp_path / "inner", f"[tool.modellint]\nextend = '{extended}'\n")


@pytest.mark.parametrize(
    "text",
    [
        "[tool.modellint]\nselect = ['ML104']",
        "[ tool . 'modellint' ]\nselect = ['ML104']",
        "tool.modellint.select = ['ML104']",
        "[tool]\nmodellint = { select = ['ML104'] }",
        "tool = { modellint = { select = ['ML104'] } }",
    ],
)
def test_a_table_may_be_written_in_any_way(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert config.load(tmp_path).select == ("ML104",)
