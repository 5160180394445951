"""What modellint says: frozen, picklable, JSON-able values that flow from the rules to the reports."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any

from .proof import Proof
from .record import dataclass, field, replace

SCHEMA = "modellint/1"
Number = float | int | str | None


class Severity(enum.StrEnum):
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Verdict(enum.StrEnum):
    """How sure the finding is: by reading alone, by measuring, or not (yet)."""

    CERTAIN = "certain"
    CONFIRMED = "confirmed"
    SUSPECTED = "suspected"
    NOT_OBSERVED = "not observed"

    @property
    def convicts(self) -> bool:
        return self in (Verdict.CERTAIN, Verdict.CONFIRMED)


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file, in a model (dotted module path), or both.

    Lines and columns (in characters) count from 1; `end_column` is one past the last character.
    """

    path: str | None = None
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    module: str | None = None

    @property
    def location(self) -> Location:
        return self

    @property
    def in_notebook(self) -> bool:
        return (self.path or "").endswith(".ipynb")

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        return " ".join(part for part in (place, self.module and f"({self.module})") if part)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A measured number, the bound it was held against, and whether the claim (the fault) holds."""

    claim: str  # what was measured, in words
    value: Number = None
    bound: Number = None  # in the unit of the value
    unit: str = ""  # "count", "share" (of 1), ...; empty where the claim says it
    holds: bool = True
    series: tuple[float | None, ...] = ()  # the value in each watched step; None: not measured


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of the source at a place; `modellint.core.edit` makes them and says what each `kind` does."""

    kind: str
    place: Location
    other: Location | None = None
    side: str = ""  # "before" or "after" the other place, or "first in" it
    text: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits of one file that together remove a finding.

    Unsafe: what was meant is a guess, or other code may depend on what is changed.
    """

    edits: tuple[Edit, ...]
    safe: bool = True

    @property
    def places(self) -> Iterator[Location]:
        return (place for edit in self.edits for place in (edit.place, edit.other) if place is not None)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `severity` is the rule's; `level` is what is reported: a note until certain or measured."""

    rule: str  # its name
    code: str
    severity: Severity
    message: str  # a predicate of the place: "clips the gradients after `step()` has used them"
    location: Location = Location()
    verdict: Verdict = Verdict.SUSPECTED
    evidence: tuple[Evidence, ...] = ()
    help: str = ""  # why it matters
    fix: str | None = None  # what to do, in words
    remedy: str | None = None  # what a re-run can try
    proof: str | None = None  # what re-runs have shown, in words
    causes: tuple[str, ...] = ()  # rules whose findings explain this one
    explains: tuple[str, ...] = ()  # rules whose findings this one explains
    twins: tuple[str, ...] = ()  # rules whose findings at the same place this one stands for
    rewrite: Fix | None = None  # what `--fix` would do; `fix` says it in words

    @property
    def level(self) -> Severity:
        return self.severity if self.verdict.convicts else Severity.NOTE

    @property
    def mended_by(self) -> str:
        """The option that makes the rewrite, empty if there is none: what is only suspected is not changed unasked."""
        if self.rewrite is None or self.location.in_notebook:
            return ""
        return "--fix" if self.rewrite.safe and self.verdict.convicts else "--unsafe-fixes"

    def with_evidence(self, *evidence: Evidence) -> Diagnostic:
        return replace(self, evidence=self.evidence + evidence)


class Hint(Diagnostic):
    """A finding that is told only if a run convicts it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Passed:
    """A check that was made and found healthy: part of "what works"."""

    check: str
    value: Number = None
    bound: Number = None
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A check that could not be made, and what it would have needed."""

    check: str
    reason: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a probe did not come to its end; the report then holds what was measured until then."""

    message: str
    location: Location = Location()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What comes out: findings in the order to read them, what works, what could not be checked."""

    diagnostics: tuple[Diagnostic, ...] = ()
    passed: tuple[Passed, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    run: Mapping[str, Any] | None = None  # what it says of the run itself; None where nothing was run
    settings: Mapping[str, Any] = field(default_factory=dict)
    problem: Problem | None = None  # why the run, if there was one, did not come to its end
    proof: Proof | None = None
    schema: str = SCHEMA

    def at_least(self, level: Severity) -> tuple[Diagnostic, ...]:
        """The findings that are reported at this level or above; of what is only suspected that is a note."""
        return tuple(d for d in self.diagnostics if d.level.rank >= level.rank)
