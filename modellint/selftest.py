"""A rule against its own examples: `bad` is found and fixed, `good` is quiet, `suspected` never certain, in one generic test."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from .core.diagnostic import Diagnostic, Verdict
from .core.rule import GraphRule, Rule, RuntimeRule
from .measure.run import Run
from .source import parse

PASSES = 10


def failures(rule: Rule) -> Iterator[str]:
    """One line for each promise of its documentation or examples that the rule does not keep."""
    for number, example in enumerate(examples(rule.bad), 1):
        if not findings(rule, example):
            yield f"{rule.name}: bad example {number} is not found"
    for number, example in enumerate(examples(rule.good), 1):
        yield from (f"{rule.name}: good example {number} is found: {d.message}" for d in findings(rule, example))
    for number, example in enumerate(examples(rule.suspected), 1):
        if {finding.verdict for finding in findings(rule, example)} != {Verdict.SUSPECTED}:
            yield f"{rule.name}: suspected example {number} is not only suspected"
    yield from _fixes(rule)
    yield from _verdicts(rule)
    yield from (f"{rule.name}: the documentation lacks {section}:" for section in missing(rule))


def examples(given: Any) -> tuple[Any, ...]:
    return given if isinstance(given, tuple) else (given,)


def findings(rule: Rule, example: Any) -> list[Diagnostic]:
    """What the rule says of one example: a source text, a Graph or a Run."""
    if isinstance(example, str):
        found = rule.suspect(parse.script("example.py", inspect.cleandoc(example)))
    else:
        assert isinstance(rule, (GraphRule, RuntimeRule))
        found = (f for f in rule.check(example) if isinstance(f, Diagnostic))
    return list(found)


def _fixes(rule: Rule) -> Iterator[str]:
    """A fix makes at least one bad example quiet Python, and of each what `fixed` says."""
    if type(rule).fix is Rule.fix:
        return
    bad = [inspect.cleandoc(example) for example in examples(rule.bad) if isinstance(example, str)]
    results = [fixed(rule, example) for example in bad]
    if bad and results == bad:
        yield f"{rule.name}: no bad example is fixed"
    for number, (example, result) in enumerate(zip(bad, results, strict=True), 1):
        if result != example and findings(rule, result):
            yield f"{rule.name}: bad example {number} is still found after its fix"
    for number, (expected, result, example) in enumerate(zip(examples(rule.fixed), results, bad, strict=False), 1):
        if result != (example if expected is None else inspect.cleandoc(expected)):
            yield f"{rule.name}: bad example {number} is fixed to {result!r}"


def fixed(rule: Rule, text: str) -> str:
    """What the rule's fixes, unsafe ones too, make of a source text."""
    from .source import fix

    for _ in range(PASSES):
        script = parse.script("example.py", text)
        wanted = [found for finding in rule.suspect(script) if (found := rule.fix(finding, script)) is not None]
        try:
            result = fix.apply(text.encode(), wanted).data.decode()
        except fix.FixError:
            break
        if result == text:
            break
        text = result
    return text


def missing(rule: Rule) -> list[str]:
    """The sections of the documentation that are not written; thresholds need one where the rule has options, and a public
    report is asked of our own rules alone.
    """
    needed = ["Why", "Fix", "Ignore", *(["Thresholds"] if rule.options() else [])]
    return [name for name in needed if not rule.section(name)]


def _verdicts(rule: Rule) -> Iterator[str]:
    finding = Diagnostic(rule.name, rule.code, rule.severity, "")
    for attribute, expected in (("confirmed_by", True), ("not_confirmed_by", False)):
        for number, run in enumerate(examples(getattr(rule, attribute)), 1):
            assert isinstance(run, Run)
            evidence = rule.confirm(run, finding)
            if evidence is None or evidence.holds is not expected:
                yield f"{rule.name}: {attribute} {number} gives {evidence}"
