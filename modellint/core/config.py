"""`[tool.modellint]` of the nearest pyproject.toml, as frozen Settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import UsageError

_LISTS = ("select", "ignore", "extend-select", "exclude", "rule-paths", "targets")


@dataclass(frozen=True, slots=True)
class Settings:
    """What to look for, where, and how loudly. `root` is the folder of the pyproject.toml that was read."""

    root: Path = Path()
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rule_paths: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def but(self, **changes: tuple[str, ...]) -> Settings:
        """These settings with the non-empty `changes`: the command line wins over the file."""
        given: dict[str, Any] = {name: value for name, value in changes.items() if value}
        return dataclasses.replace(self, **given)


def load(start: Path) -> Settings:
    """The settings of the nearest pyproject.toml at or above `start` that has a `[tool.modellint]` table.

    Raises UsageError, with the file and the key, for a table that cannot be read.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        path = folder / "pyproject.toml"
        if path.is_file() and (table := _table(path)) is not None:
            return _settings(path, table)
    return Settings(root=start.resolve())


def _table(path: Path) -> Mapping[str, Any] | None:
    data = path.read_bytes()
    if b"modellint" not in data:
        return None
    import tomllib

    try:
        table = tomllib.loads(data.decode("utf-8")).get("tool", {}).get("modellint")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"{path}: [tool.modellint] must be a table")
    return table


def _settings(path: Path, table: Mapping[str, Any]) -> Settings:
    unknown = set(table) - {*_LISTS, "per-file-ignores", "rules"}
    if unknown:
        raise UsageError(f"{path}: [tool.modellint] has no setting {', '.join(sorted(unknown))}")
    lists = {key.replace("-", "_"): _strings(path, key, table[key]) for key in _LISTS if key in table}
    ignores = _tables(path, "per-file-ignores", table)
    return Settings(
        root=path.parent,
        per_file_ignores={glob: _strings(path, f"per-file-ignores.{glob}", value) for glob, value in ignores.items()},
        rules={name: _options(path, name, value) for name, value in _tables(path, "rules", table).items()},
        **lists,
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
