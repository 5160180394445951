"""`[tool.modellint]` of the nearest pyproject.toml, and of what that extends, as frozen Settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import UsageError
from .pattern import pattern
from .record import dataclass, field, replace

_LISTS = ("select", "ignore", "extend-select", "exclude", "rule-paths", "targets")
OURS = pattern(rb"""tool["']?\s*\.\s*["']?modellint|^\s*(\[\s*)?["']?tool["']?\s*[\]=]""", re.MULTILINE)
_OTHERS = ("extend", "per-file-ignores", "rules")


@dataclass(frozen=True, slots=True)
class Settings:
    """What to look for, where, and how loudly. `root` is the folder of the pyproject.toml that was read.

    Patterns and paths are relative to their own `root`; those of the settings that these extend hold besides.
    """

    root: Path = Path()
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rule_paths: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    extended: Settings | None = None

    def but(self, **changes: tuple[str, ...]) -> Settings:
        """These settings with the non-empty `changes`: the command line wins over the file."""
        given: dict[str, Any] = {name: value for name, value in changes.items() if value}
        return replace(self, **given)

    @property
    def lineage(self) -> Iterator[Settings]:
        """These settings and those that they extend."""
        settings: Settings | None = self
        while settings is not None:
            yield settings
            settings = settings.extended

    @property
    def rule_files(self) -> list[Path]:
        """The files and folders with rules of the user."""
        return [settings.root / path for settings in self.lineage for path in settings.rule_paths]


def load(start: Path) -> Settings:
    """The settings of the nearest pyproject.toml at or above `start` that has a `[tool.modellint]` table.

    Raises UsageError, with the file and the key, for a table that cannot be read.
    """
    here = start.resolve()
    return next((found for folder in (here, *here.parents) if (found := inside(folder))), Settings(root=here))


def inside(folder: Path) -> Settings | None:
    """The settings of the pyproject.toml in a folder; None if there is none or it has no table for us."""
    path = folder / "pyproject.toml"
    table = _table(path) if os.path.isfile(path) else None  # of a folder that cannot be entered too
    return None if table is None else _settings(path, table)


def _table(path: Path) -> Mapping[str, Any] | None:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if OURS.search(data) is None:  # to read TOML takes as long as to parse a script
        return None
    import tomllib

    try:
        table = tomllib.loads(data.decode("utf-8-sig")).get("tool", {}).get("modellint")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"{path}: [tool.modellint] must be a table")
    return table


def _settings(path: Path, table: Mapping[str, Any], below: tuple[Path, ...] = ()) -> Settings:
    unknown = set(table) - {*_LISTS, *_OTHERS}
    for name in sorted(unknown):
        import difflib

        near = difflib.get_close_matches(name.replace("_", "-"), (*_LISTS, *_OTHERS), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join((*_LISTS, *_OTHERS))}"
        raise UsageError(f"{path}: [tool.modellint] has no setting {name}; {hint}")
    lists: dict[str, Any] = {key.replace("-", "_"): _strings(path, key, table[key]) for key in _LISTS if key in table}
    ignores = _tables(path, "per-file-ignores", table)
    own = Settings(
        root=path.parent,
        per_file_ignores={glob: _strings(path, f"per-file-ignores.{glob}", value) for glob, value in ignores.items()},
        rules={name: _options(path, name, value) for name, value in _tables(path, "rules", table).items()},
        **lists,
    )
    return _inherited(own, _extended(path, table["extend"], (*below, path))) if "extend" in table else own


def _extended(path: Path, value: object, below: tuple[Path, ...]) -> Settings:
    if not isinstance(value, str):
        raise UsageError(f"{path}: [tool.modellint] extend must be the path of a pyproject.toml")
    other = (path.parent / value).resolve()
    if other in below:
        raise UsageError(f"{path}: [tool.modellint] extend leads back to {other}")
    table = _table(other) if os.path.isfile(other) else None
    if table is None:
        raise UsageError(f"{path}: [tool.modellint] extends {value}, where there is no [tool.modellint]")
    return _settings(other, table, below)


def _inherited(own: Settings, other: Settings) -> Settings:
    """What is set here wins; rules that are added, and the options of rules, are joined."""
    options = {name: {**other.rules.get(name, {}), **own.rules.get(name, {})} for name in {**other.rules, **own.rules}}
    return replace(
        own,
        select=own.select or other.select,
        ignore=own.ignore or other.ignore,
        extend_select=other.extend_select + own.extend_select,
        targets=own.targets or other.targets,
        rules=options,
        extended=other,
    )


def _strings(path: Path, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{path}: [tool.modellint] {key} must be a list of strings")
    return tuple(value)


def _tables(path: Path, key: str, table: Mapping[str, Any]) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise UsageError(f"{path}: [tool.modellint.{key}] must be a table")
    return value


def _options(path: Path, name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{path}: [tool.modellint.rules.{name}] must be a table of options")
    return value
