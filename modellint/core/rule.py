"""The base of every rule: one file, one hypothesis, with its documentation, its examples and its options."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from .diagnostic import Diagnostic, Evidence, Fix, Hint, Location, Number, Passed, Severity, Unchecked, Verdict

if TYPE_CHECKING:
    from modellint.graph.graph import Graph
    from modellint.measure.run import Run
    from modellint.source.script import Script

Word = str | re.Pattern[bytes] | tuple[str | re.Pattern[bytes], ...]
SECTIONS = ("Why", "Fix", "Ignore", "Thresholds", "Reported")


class Placed(Protocol):
    @property
    def location(self) -> Location: ...


class Rule:
    """A hypothesis about a fault.

    The class docstring is the documentation: its first line says what is wrong; paragraphs that begin with
    `Why:`, `Fix:`, `Ignore:`, `Thresholds:` and `Reported:` say the rest. `bad` and `good` are the self-tests (a single
    example or a tuple). Public class attributes that are not named below are the rule's options.
    """

    name: ClassVar[str] = ""
    code: ClassVar[str] = ""
    severity: ClassVar[Severity] = Severity.WARNING
    certain: ClassVar[bool] = False
    explains: ClassVar[tuple[str, ...]] = ()
    twins: ClassVar[tuple[str, ...]] = ()
    remedy: ClassVar[str | tuple[str, ...] | None] = None  # what a re-run can try; of several the likeliest first
    topic: ClassVar[str] = ""  # what the pytest assertions group by: "gradients", "predictions"
    only_reads: ClassVar[bool] = False  # of no run
    of_data: ClassVar[bool] = False  # what a run says depends on the data: nothing, where they were invented
    words: ClassVar[tuple[Word, ...]] = ()
    bad: ClassVar[Any] = ()
    fixed: ClassVar[Any] = ()  # what `fix` makes of each bad example; None where it leaves one alone
    good: ClassVar[Any] = ()
    suspected: ClassVar[Any] = ()  # what is found and may be meant: never certain
    confirmed_by: ClassVar[Any] = ()
    not_confirmed_by: ClassVar[Any] = ()

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        """`options` override the public attributes; raises ValueError for an unknown name or another type."""
        known = self.options() if options else {}
        for key, value in (options or {}).items():
            attribute = key.replace("-", "_")
            if attribute not in known:
                raise ValueError(f"rule {self.name} has no option {key!r}; it has: {', '.join(known) or 'none'}")
            setattr(self, attribute, _like(known[attribute], value, f"option {key!r} of rule {self.name}"))

    def options(self) -> dict[str, Any]:
        """The rule's options with their present values."""
        names = (n for kind in reversed(type(self).__mro__) for n in vars(kind) if kind not in _BASES)
        own = [n for n in dict.fromkeys(names) if not n.startswith("_") and not any(hasattr(b, n) for b in _BASES)]
        return {
            n: getattr(self, n) for n in own if not callable(getattr(self, n)) and not _is_descriptor(type(self), n)
        }

    @property
    def reads(self) -> bool:
        """Whether it has something to say of source: all source rules, and deeper ones that suspect by reading."""
        return type(self).suspect is not Rule.suspect

    def suspect(self, script: Script) -> Iterator[Diagnostic]:
        """What reading the source already suggests; graph and runtime rules may implement it."""
        yield from ()

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        """The measurement that convicts `finding` (`holds`) or did not observe it; None where it cannot be made."""
        return None

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """The edits (of `modellint.core.edit`) that remove `finding` from its file; None where none is known."""
        return None

    def at(
        self,
        place: Placed,
        message: str,
        *,
        severity: Severity | None = None,
        certain: bool | None = None,
        measured: bool = False,
        evidence: Iterable[Evidence] = (),
        fix: str | None = None,
        hint: bool = False,
    ) -> Diagnostic:
        """A diagnostic of this rule at `place` (anything that has a `location`); a `hint` is told only if it is convicted."""
        verdict = Verdict.CERTAIN if (self.certain if certain is None else certain) else Verdict.SUSPECTED
        kind = Hint if hint else Diagnostic
        return kind(
            rule=self.name,
            code=self.code,
            severity=severity or self.severity,
            message=message,
            location=place.location,
            verdict=Verdict.CONFIRMED if measured else verdict,
            evidence=tuple(evidence),
            help=self.section("Why"),
            fix=fix or self.section("Fix") or None,
            remedy=next(iter(self.remedies), None),
        )

    @property
    def remedies(self) -> tuple[str, ...]:
        return (self.remedy,) if isinstance(self.remedy, str) else self.remedy or ()

    def passed(self, check: str, value: Number = None, bound: Number = None) -> Passed:
        """What to list under "what works" when the check was made and found healthy."""
        return Passed(check, value, bound, rule=self.name)

    @classmethod
    def summary(cls) -> str:
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @classmethod
    def section(cls, name: str) -> str:
        """The text of one paragraph of the documentation (`Why`, `Fix`, ...), on one line; empty if there is none."""
        taken, within = [], False
        for line in map(str.strip, (cls.__doc__ or "").splitlines()):
            head, colon, rest = line.partition(":")
            is_title = bool(colon) and head in SECTIONS
            within = head == name if is_title else within
            taken += [rest if is_title else line] * within
        return " ".join(" ".join(taken).split())


class SourceRule(Rule):
    """Reads facts of a script.

    A file is only parsed if its code holds one of the `words`, or all those of a tuple among them: the rarer they are,
    the less is parsed. One may be a pattern of bytes; it is costly, and belongs behind a plain word.

    A rule that only looks for some `calls` is not asked of a file that makes none of them itself.
    """

    only_reads = True
    calls: ClassVar[tuple[str, ...]] = ()  # by the last parts of their names

    def check(self, script: Script) -> Iterator[Diagnostic]:
        raise NotImplementedError

    def suspect(self, script: Script) -> Iterator[Diagnostic]:
        return iter(()) if self.calls and script.called.isdisjoint(self.calls) else self.check(script)


class GraphRule(Rule):
    """Asks questions of the recorded graph of roles."""

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        raise NotImplementedError


class RuntimeRule(Rule):
    """Judges what a probe measured. `needs` says, in words, what must have been measured for the check to be made."""

    needs: ClassVar[str] = "a training step"

    def check(self, run: Run) -> Iterator[Diagnostic | Passed | Unchecked]:
        """Findings, or `Passed` when the check was made and the run is healthy; nothing when it cannot be made."""
        raise NotImplementedError

    def unchecked(self, reason: str) -> Unchecked:
        """That the check could not be made, where `needs` does not say why."""
        return Unchecked(self.summary(), reason, self.name)

    def convict(self, place: Placed, message: str, *evidence: Evidence, severity: Severity | None = None) -> Diagnostic:
        """A confirmed diagnostic with the numbers that convict."""
        return self.at(place, message, measured=True, evidence=evidence, severity=severity)


_BASES = (object, Rule, SourceRule, GraphRule, RuntimeRule)


def _is_descriptor(kind: type, name: str) -> bool:
    found = next(vars(base)[name] for base in kind.__mro__ if name in vars(base))
    return isinstance(found, (property, classmethod, staticmethod))


def _like(default: Any, value: Any, what: str) -> Any:
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"{what} must be {type(default).__name__}, not {type(value).__name__}")
    return value


__all__ = ["SECTIONS", "GraphRule", "Location", "Placed", "Rule", "RuntimeRule", "SourceRule"]
