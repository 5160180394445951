"""A rule's documentation as text: its docstring, its examples and its options with their values."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

from .rule import SECTIONS, GraphRule, Rule, RuntimeRule

TITLES = {
    "Why": "Why it hurts",
    "Fix": "What to do",
    "Ignore": "When to ignore it",
    "Thresholds": "Where the thresholds come from",
    "Reported": "Reported",
}


def explain(rule: Rule) -> str:
    """Plain text of at most 100 columns."""
    return "\n".join(_lines(rule))


def _lines(rule: Rule) -> Iterator[str]:
    yield f"{rule.name} ({rule.code}) · {rule.severity} · {_certainty(rule)}"
    yield f"\n{rule.summary()}"
    yield from (f"\n{TITLES[name]}\n{_wrapped(rule.section(name))}" for name in SECTIONS if rule.section(name))
    for title, text in examples(rule):
        yield f"\n{title}\n{textwrap.indent(text, '    ')}"
    if options := rule.options():
        yield "\nOptions ([tool.modellint.rules." + rule.name + "])"
        yield from (f"  {name.replace('_', '-')} = {value!r}" for name, value in options.items())
    if rule.explains:
        yield "\nExplains\n" + _wrapped(", ".join(rule.explains))
    if rule.remedy:
        yield f"\nRemedy that a re-run can try\n  {', '.join(rule.remedies)}"


def _certainty(rule: Rule) -> str:
    if rule.certain:
        return "certain by reading"
    if isinstance(rule, RuntimeRule):
        return "measured"
    measured = isinstance(rule, GraphRule) or type(rule).confirm is not Rule.confirm
    return "suspected until measured" if measured else "suspected by reading"


def examples(rule: Rule) -> Iterator[tuple[str, str]]:
    """The first example of the fault and two that are healthy, as code; a graph or a run is not shown."""
    for title, written, most in (("Bad", rule.bad, 1), ("Good", rule.good, 2)):
        texts = [e for e in (written if isinstance(written, tuple) else (written,)) if isinstance(e, str)]
        yield from ((title, inspect.cleandoc(text)) for text in texts[:most])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 96, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
