"""Findings as trees: every cause with the symptoms that it explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from modellint.core.diagnostic import Diagnostic
from modellint.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A diagnostic and the findings that vanish with it."""

    diagnostic: Diagnostic
    symptoms: tuple[Finding, ...] = ()
    shared: tuple[str, ...] = ()  # rules that it explains too, and that stand under another cause

    @property
    def convicts(self) -> bool:
        return self.diagnostic.verdict.convicts

    def descendants(self, depth: int = 0) -> Iterator[tuple[int, Diagnostic]]:
        """All symptoms below, with the length of the chain that leads to them."""
        for symptom in self.symptoms:
            yield depth, symptom.diagnostic
            yield from symptom.descendants(depth + 1)


def grow(diagnostics: Sequence[Diagnostic]) -> tuple[Finding, ...]:
    """The causes in the order given, each with its symptoms; a circle of causes is cut before its first member."""
    parents: dict[int, int] = {}
    for index in reversed(range(len(diagnostics))):
        cause = next(_causes(index, diagnostics, parents), None)
        if cause is not None:
            parents[index] = cause
    children: dict[int | None, list[int]] = {}
    for index in range(len(diagnostics)):
        children.setdefault(parents.get(index), []).append(index)
    return tuple(_findings(None, diagnostics, children))


def _causes(index: int, diagnostics: Sequence[Diagnostic], parents: Mapping[int, int]) -> Iterator[int]:
    """Where the causes of a symptom stand; what is only suspected explains nothing that was measured."""
    symptom = diagnostics[index]
    for rule in symptom.causes:
        for place, cause in enumerate(diagnostics):
            convicts = cause.verdict.convicts or not symptom.verdict.convicts
            if cause.rule == rule and convicts and index not in _ancestors(place, parents):
                yield place


def _ancestors(place: int, parents: Mapping[int, int]) -> Iterator[int]:
    yield place
    while place in parents:
        place = parents[place]
        yield place


def _findings(
    parent: int | None, diagnostics: Sequence[Diagnostic], children: Mapping[int | None, Sequence[int]]
) -> Iterator[Finding]:
    for place in children.get(parent, ()):
        symptoms = tuple(_findings(place, diagnostics, children))
        yield Finding(diagnostics[place], symptoms, tuple(_shared(diagnostics[place], symptoms, diagnostics)))


def _shared(cause: Diagnostic, symptoms: Sequence[Finding], diagnostics: Sequence[Diagnostic]) -> Iterator[str]:
    shown = {below.rule for _, below in Finding(cause, tuple(symptoms)).descendants()}
    for rule in cause.explains:
        if rule not in shown and any(found.rule == rule and found.verdict.convicts for found in diagnostics):
            yield rule
