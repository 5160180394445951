"""What rules are chosen by, kept beside the bytecode of the built-in ones and written like it: most are never loaded."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from . import rulefile
from .cache import overwrite
from .pattern import pattern
from .rule import Rule, Word

FACTS = ("name", "code", "words", "reads", "only_reads")
Facts = Mapping[str, Any]


class Unloaded:
    """Stands for a rule without options: its file is run when it is asked for anything but these facts."""

    def __init__(self, path: Path, facts: Facts) -> None:
        self._path = path
        vars(self).update(facts)

    @cached_property
    def _rule(self) -> Rule:
        return rulefile.rule_class(self._path)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rule, name)


class Index:
    def __init__(self) -> None:
        self._folder = str(rulefile.builtin_folder())
        self._file = Path(importlib.util.cache_from_source(f"{self._folder}/index.py")).with_suffix(".json")
        self._known = _read(self._file)
        self._learnt: dict[str, Any] = {}

    def facts(self, path: Path) -> Facts | None:
        """Of the rule in a file, which is run if it was not indexed as it is now; None if it does not read source."""
        status = os.stat(path)
        age = [status.st_size, status.st_mtime_ns]
        try:
            entry = self._known[str(path)]
            if entry["age"] == age:
                return _facts(entry) if entry["reads"] else None
        except (KeyError, TypeError, ValueError):  # new, or not written by us
            pass
        facts = {"reads": False} if rulefile.only_measures(path) else _of(rulefile.rule_class(path))
        if str(path).startswith(self._folder):
            self._learnt[str(path)] = {**facts, "age": age}
        return _facts(facts) if facts["reads"] else None

    def keep(self) -> None:
        """What was learnt is remembered, unless Python is to write no bytecode or may not write there."""
        if self._learnt and not sys.dont_write_bytecode:
            with contextlib.suppress(OSError):
                self._file.parent.mkdir(exist_ok=True)
                overwrite(self._file, json.dumps({**self._known, **self._learnt}))


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _of(kind: type[Rule]) -> dict[str, Any]:
    rule = kind()
    return {name: getattr(rule, name) for name in FACTS} | {"words": [_plain(word) for word in rule.words]}


def _facts(entry: Facts) -> Facts:
    return {name: entry[name] for name in FACTS} | {"words": tuple(map(_word, entry["words"]))}


def _plain(word: Word) -> Any:
    if isinstance(word, tuple):
        return [_plain(part) for part in word]
    return word if isinstance(word, str) else {"pattern": word.pattern.decode("latin-1"), "flags": word.flags}


def _word(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(map(_word, plain))
    return plain if isinstance(plain, str) else pattern(plain["pattern"].encode("latin-1"), plain["flags"])
