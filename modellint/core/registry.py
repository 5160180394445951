"""The rules there are: built-in and user rules by one loader, and the selectors that choose among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from . import rulefile
from .errors import UsageError
from .index import Index, Unloaded
from .own import OWN
from .rule import Rule

SUGGESTED = 3
Options = Mapping[str, Mapping[str, Any]]


def load(paths: Iterable[Path] = (), options: Options | None = None) -> tuple[Rule, ...]:
    """All built-in rules, those of the `modellint.rules` entry points, and those in `paths`, sorted by code.

    Raises UsageError for a file that is no rule, a name or code that is taken, or an option that no rule has.
    """
    kinds = ((path, rulefile.rule_class(path)) for path in rulefile.find(paths))
    given = dict(options or {})
    return _distinct(((path, _configured(kind, _own(kind, given))) for path, kind in kinds), given)


def reading(paths: Iterable[Path] = (), options: Options | None = None) -> tuple[Rule, ...]:
    """The same, without those that only measure, of which nothing is known; none is loaded before it is asked something."""
    index, given = Index(), dict(options or {})
    facts = ((path, index.facts(path)) for path in rulefile.find(paths))
    unloaded = ((path, Unloaded(path, known)) for path, known in facts if known is not None)
    rules = _distinct(((path, _loaded(rule, path, _own(rule, given))) for path, rule in unloaded), given)
    index.keep()
    return rules


def select(
    rules: Iterable[Rule], chosen: Iterable[str] = (), ignored: Iterable[str] = (), added: Iterable[str] = ()
) -> tuple[Rule, ...]:
    """The rules that `chosen` (all, if empty) and `added` name and `ignored` does not.

    A selector is a name, a code, the start of a code, or "ALL".

    Raises UsageError for a selector that names no rule.
    """
    everything = tuple(rules)
    known = {selector: matching(selector, (*everything, *OWN)) for selector in {*chosen, *ignored, *added}}
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
        raise _unknown(selector, everything)
    return found


def find(name: str, rules: Iterable[Rule]) -> Rule:
    """The one rule with this name or code; raises UsageError with the nearest names."""
    everything = tuple(rules)
    for rule in everything:
        if name.lower() in (rule.name, rule.code.lower()):
            return rule
    raise _unknown(name, everything)


def _unknown(name: str, rules: Sequence[Rule]) -> UsageError:
    """With the rules that may be meant: by their code, by a part of their name, or by a name that is spelled alike."""
    import difflib

    low = name.lower()
    under = [rule for rule in rules if rule.code.lower().startswith(low)]
    coded = [rule.code if rule.code.lower() == low else rule.name for rule in under]
    holding = [rule.name for rule in rules if low in rule.name]
    alike = difflib.get_close_matches(low, [rule.name for rule in rules], n=SUGGESTED)
    near = list(dict.fromkeys([*coded, *alike, *holding]))[:SUGGESTED] if low.strip("-") else []
    meant = " or ".join(filter(None, (", ".join(near[:-1]), *near[-1:])))
    hint = f"did you mean {meant}?" if near else "`modellint rules` lists them"
    return UsageError(f"no rule is called {name!r}; {hint}")


def _own(rule: Any, given: dict[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    return given.pop(rule.name, given.pop(rule.code, {}))


def _distinct(rules: Iterable[tuple[Path, Rule]], given: Options) -> tuple[Rule, ...]:
    """The rules by their codes, when all have taken their options from those that were `given`."""
    names: dict[str, Rule] = {}
    codes: dict[str, Rule] = {}
    for path, rule in rules:
        other = names.get(rule.name) or codes.get(rule.code)
        if other is not None:
            raise UsageError(f"{path}: the rule {rule.name} ({rule.code}) has the name or code of {other.name}")
        names[rule.name] = codes[rule.code] = rule
    for name in sorted(given):
        raise UsageError(f"[tool.modellint.rules] {_unknown(name, tuple(names.values()))}")
    return tuple(codes[code] for code in sorted(codes))


def _loaded(rule: Unloaded, path: Path, options: Mapping[str, Any]) -> Rule:
    return _configured(rulefile.rule_class(path), options) if options else cast("Rule", rule)


def _configured(kind: type[Rule], options: Mapping[str, Any]) -> Rule:
    try:
        return kind(options)
    except ValueError as error:
        raise UsageError(str(error)) from error
