"""A Report that tests can assert on, with messages that show the measured numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .core import registry
from .core.diagnostic import Diagnostic, Report, Severity
from .core.record import dataclass
from .core.rule import GraphRule, Rule
from .report import render


@dataclass(frozen=True, slots=True)
class ProbeReport(Report):
    """What `modellint.probe` returns: the report of a probed model."""

    rules: Sequence[Rule] = ()

    def assert_clean(self, ignore: Iterable[str] = ()) -> None:
        """Raise AssertionError if anything certain or confirmed at warning or above was found.

        `ignore` names rules (name or code) that may be found.
        """
        ignored = set(ignore)
        for selector in ignored:
            registry.matching(selector, self.rules)
        self._expect("no finding", [d for d in self._loud() if not {d.rule, d.code} & ignored])

    def assert_gradients_healthy(self) -> None:
        """Raise AssertionError if gradients explode, vanish, are stale or not finite, or were not measured."""
        self._expect_topic("gradients")

    def assert_predictions_diverse(self) -> None:
        """Raise AssertionError if the predictions or outputs have collapsed, or there were no classes to predict."""
        self._expect_topic("predictions")

    def assert_no_structural_risks(self) -> None:
        """Raise AssertionError if the recorded graph has a structural fault, or no graph was recorded."""
        structural = {rule.name for rule in self.rules if isinstance(rule, GraphRule)}
        self._expect_checked("structure", structural)
        self._expect("no structural risk", [d for d in self._loud() if d.rule in structural])

    def _expect_topic(self, topic: str) -> None:
        names = {rule.name for rule in self.rules if rule.topic == topic}
        self._expect(f"healthy {topic}", [d for d in self._loud() if d.rule in names])
        self._expect_checked(topic, names)

    def _expect(self, what: str, found: Sequence[Diagnostic]) -> None:
        if found:
            shown = render(Report(diagnostics=tuple(found), run=self.run), "full", color=False)
            raise AssertionError(f"expected {what}, found {len(found)}:\n{shown}")

    def _expect_checked(self, topic: str, names: set[str]) -> None:
        reasons = [f"{u.rule}: {u.reason}" for u in self.unchecked if u.rule in names]
        if len(reasons) == len(names):
            raise AssertionError(f"the {topic} could not be checked:\n  " + "\n  ".join(reasons))

    def _loud(self) -> tuple[Diagnostic, ...]:
        return self.at_least(Severity.WARNING)
