"""Rule files to rules: built-in and user rules come through the same loader, one Rule subclass a file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import UsageError
from .rule import Rule

_PACKAGE = Path(__file__).resolve().parent.parent
ENTRY_POINTS = "modellint.rules"


def builtin_folder() -> Path:
    """Where the shipped rules lie: inside the wheel, or beside the package in a checkout."""
    inside = _PACKAGE / "rules"
    return inside if inside.is_dir() else _PACKAGE.parent / "rules"


def load(paths: Iterable[Path] = (), options: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[Rule, ...]:
    """All built-in rules, those of the `modellint.rules` entry points, and those in `paths`, sorted by code.

    Raises UsageError for a file that is no rule, a name or code that is taken, or an option that no rule has.
    """
    rules: dict[str, Rule] = {}
    given = dict(options or {})
    for path in _files([builtin_folder(), *_installed(), *paths]):
        kind = _rule_class(path)
        rule = _configured(kind, given.pop(kind.name, given.pop(kind.code, {})))
        for other in rules.values():
            if rule.name == other.name or rule.code == other.code:
                raise UsageError(f"{path}: the rule {rule.name} ({rule.code}) has the name or code of {other.name}")
        rules[rule.name] = rule
    if given:
        raise UsageError(f"[tool.modellint.rules] names unknown rules: {', '.join(sorted(given))}")
    return tuple(sorted(rules.values(), key=lambda rule: rule.code))


def select(
    rules: Iterable[Rule], chosen: Iterable[str] = (), ignored: Iterable[str] = (), added: Iterable[str] = ()
) -> tuple[Rule, ...]:
    """The rules that `chosen` (all, if empty) and `added` name and `ignored` does not.

    A selector is a name, a code, the start of a code, or "ALL".

    Raises UsageError for a selector that names no rule.
    """
    everything = tuple(rules)
    known = {selector: matching(selector, everything) for selector in {*chosen, *ignored, *added}}
    wanted = (
        set().union(*(known[s] for s in [*chosen, *added])) if tuple(chosen) else {rule.name for rule in everything}
    )
    unwanted = set().union(*(known[s] for s in ignored)) - set().union(*(known[s] for s in added))
    return tuple(rule for rule in everything if rule.name in wanted - unwanted)


def matching(selector: str, rules: Iterable[Rule]) -> set[str]:
    """The names of the rules that a selector means."""
    everything = tuple(rules)
    if selector == "ALL":
        return {rule.name for rule in everything}
    found = {rule.name for rule in everything if rule.name == selector or rule.code.startswith(selector)}
    if not found:
        raise UsageError(f"no rule is called {selector!r}; `modellint rules` lists them")
    return found


def find(name: str, rules: Iterable[Rule]) -> Rule:
    """The one rule with this name or code; raises UsageError with the nearest names."""
    everything = tuple(rules)
    for rule in everything:
        if name.lower() in (rule.name, rule.code.lower()):
            return rule
    import difflib

    near = difflib.get_close_matches(name, [rule.name for rule in everything], n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `modellint rules` lists them"
    raise UsageError(f"no rule is called {name!r}{hint}")


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if not place.exists():
            raise UsageError(f"{place}: no such rule file or folder")
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        yield from (file for file in files if not file.name.startswith("_"))


def _installed() -> Iterator[Path]:
    if not _any_entry_point():
        return
    import importlib.metadata

    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        spec = importlib.util.find_spec(entry.module)
        if spec is None or spec.origin is None:
            raise UsageError(
                f"the entry point {entry.name} of {ENTRY_POINTS} names {entry.module}, which is not installed"
            )
        origin = Path(spec.origin)
        yield origin.parent if origin.name == "__init__.py" else origin


def _any_entry_point() -> bool:
    """Whether any distribution names the group: reading files costs a tenth of importing importlib.metadata."""
    files = (file for folder in sys.path for file in Path(folder).glob("*-info/entry_points.txt"))
    return any(ENTRY_POINTS.encode() in file.read_bytes() for file in files)


def _rule_class(path: Path) -> type[Rule]:
    module = _module(path)
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Rule) and kind.__module__ == module.__name__ and kind.code
    ]
    if len(kinds) != 1:
        raise UsageError(
            f"{path}: a rule file holds exactly one rule (a subclass with a code); this one holds {len(kinds)}"
        )
    kinds[0].name = path.stem.replace("_", "-")
    return kinds[0]


def _module(path: Path) -> ModuleType:
    name = f"modellint_rules.{path.parent.name}.{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"{path}: the rule cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _configured(kind: type[Rule], options: Mapping[str, Any]) -> Rule:
    try:
        return kind(options)
    except ValueError as error:
        raise UsageError(str(error)) from error
