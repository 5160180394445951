"""A rule's documentation in Markdown, for readers that render it: its docstring, its examples, its options."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from modellint.core.explain import TITLES, examples
from modellint.core.rule import GraphRule, Rule, SourceRule

from .markup import block, code, prose, sentence


def layer(rule: Rule) -> str:
    """Where the rule looks: "source", "graph" or "runtime"."""
    return "source" if isinstance(rule, SourceRule) else "graph" if isinstance(rule, GraphRule) else "runtime"


def markdown(rule: Rule) -> str:
    return "\n".join(_document(rule)).rstrip()


def plain(rule: Rule) -> str:
    """What is wrong, why it hurts and what to do, for readers that do not render Markdown."""
    parts = (f"{TITLES[name]}: {rule.section(name)}" for name in ("Why", "Fix") if rule.section(name))
    return "\n\n".join((rule.summary(), *parts))


def reported(rule: Rule) -> str | None:
    """The first address of a public report of the fault."""
    found = re.search(r"https?://[^\s,;)]+", rule.section("Reported"))
    return found.group().rstrip(".") if found else None


def _document(rule: Rule) -> Iterator[str]:
    yield from (prose(rule.summary()), "")
    for name, title in TITLES.items():
        if text := rule.section(name):
            yield from (f"## {title}", "", sentence(text), "")
    for title, shown in itertools.groupby(examples(rule), key=lambda example: example[0]):
        yield from (f"## {title}", "")
        for _, text in shown:
            yield from block(text.splitlines(), "python")
    if options := rule.options():
        yield from (f"## Options in {code(f'[tool.modellint.rules.{rule.name}]')}", "")
        written = (f"{name.replace('_', '-')} = {value!r}" for name, value in options.items())
        yield from (f"- {code(option)}" for option in written)
