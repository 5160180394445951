"""A rule's documentation as text: its docstring, its examples and its options with their values."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

from .rule import SECTIONS, Rule

_TITLES = {
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
    sure = "certain by reading" if rule.certain else "suspected until measured" if rule.code < "ML3" else "measured"
    yield f"{rule.name} ({rule.code}) · {rule.severity} · {sure}"
    yield f"\n{rule.summary()}"
    yield from (f"\n{_TITLES[name]}\n{_wrapped(rule.section(name))}" for name in SECTIONS if rule.section(name))
    yield from _example("Bad", rule.bad)
    yield from _example("Good", rule.good)
    if options := rule.options():
        yield "\nOptions ([tool.modellint.rules." + rule.name + "])"
        yield from (f"  {name.replace('_', '-')} = {value!r}" for name, value in options.items())
    if rule.explains:
        yield "\nExplains\n" + _wrapped(", ".join(rule.explains))
    if rule.remedy:
        yield f"\nRemedy that a re-run can try\n  {rule.remedy}"


def _example(title: str, examples: object) -> Iterator[str]:
    texts = [e for e in (examples if isinstance(examples, tuple) else (examples,)) if isinstance(e, str)]
    for text in texts[:1] if title == "Bad" else texts[:2]:
        yield f"\n{title}\n{textwrap.indent(inspect.cleandoc(text), '    ')}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 96, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
