"""The rules there are: built-in and user rules by one loader, and the selectors that choose among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import rulefile
from .errors import UsageError
from .rule import Rule


def load(
    paths: Iterable[Path] = (), options: Mapping[str, Mapping[str, Any]] | None = None, *, reading: bool = False
) -> tuple[Rule, ...]:
    """All built-in rules, those of the `modellint.rules` entry points, and those in `paths`, sorted by code.

    `reading` leaves out the files of rules that only measure, and knows nothing of them.
    Raises UsageError for a file that is no rule, a name or code that is taken, or an option that no rule has.
    """
    rules: dict[str, Rule] = {}
    given = dict(options or {})
    for path in rulefile.find(paths):
        if reading and rulefile.only_measures(path):
            continue
        kind = rulefile.rule_class(path)
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


def strangers(names: Iterable[str], paths: Iterable[Path] = ()) -> set[str]:
    """Those of `names` that no rule has as its name or code; rules are loaded only for what is no file's name."""
    places, unknown = tuple(paths), set(names)
    if unknown:
        unknown -= {path.stem.replace("_", "-") for path in rulefile.find(places)}
    return unknown - {rule.code for rule in load(places)} if unknown else set()


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


def _configured(kind: type[Rule], options: Mapping[str, Any]) -> Rule:
    try:
        return kind(options)
    except ValueError as error:
        raise UsageError(str(error)) from error
