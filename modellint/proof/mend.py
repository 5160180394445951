"""A proof to a mended script: the fix of what cures is made, the edited script is probed and proven again, until it is calm."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from modellint import pipeline
from modellint.core.config import Settings
from modellint.core.diagnostic import Diagnostic, Fix, Report, Severity
from modellint.core.proof import Effect, Proof
from modellint.core.record import dataclass
from modellint.measure.run import Run

from .comparison import compare

ROUNDS = 5
Proven = Callable[[Sequence[str]], tuple[Report, Run]]


@dataclass(frozen=True, slots=True)
class State:
    """The script as it is after some fixes: what was found, what was measured, and what the files hold."""

    report: Report
    run: Run
    edited: Mapping[str, bytes]
    made: tuple[str, ...] = ()  # the rules whose fixes were made

    @property
    def left(self) -> tuple[Diagnostic, ...]:
        loud = self.report.at_least(Severity.WARNING)
        return tuple(finding for finding in loud if finding.verdict.convicts)

    @property
    def is_clean(self) -> bool:
        return not self.left and self.report.problem is None


class Mender:
    """`prove` probes and proves a command. With `apply` the files are edited; else a copy that lies beside the script."""

    def __init__(self, command: Sequence[str], settings: Settings, prove: Proven, *, apply: bool) -> None:
        self._command, self._settings, self._prove, self._apply = tuple(command), settings, prove, apply
        self._script = next((word for word in command if word.endswith(".py")), None)
        self._copy: Path | None = None

    def states(self, originals: dict[str, bytes]) -> Iterator[State]:
        """As found, and after each fix; ends where nothing that cures has a fix. `originals` is given the old files."""
        state = State(*self._prove(self._command), {})
        yield state
        for _ in range(ROUNDS):
            step = self._fixed(state)
            if step is None:
                return
            rule, path, data = step
            originals.setdefault(path, Path(path).read_bytes())
            before = Path(self._copy or path).read_bytes()
            after = State(*self._prove(self._put(path, data)), {**state.edited, path: data}, (*state.made, rule))
            if not _is_better(state, after, rule):
                self._put(path, before)
                return
            state = after
            yield state

    def close(self) -> None:
        if self._copy is not None:
            self._copy.unlink(missing_ok=True)

    def _fixed(self, state: State) -> tuple[str, str, bytes] | None:
        """The rule, the file and what it holds after the first fix that can be made."""
        from modellint.source import fix

        for finding in _wanted(state):
            path = finding.location.path or ""
            edit = self._edit(finding, state.run)
            if edit is None or (self._is_beyond(path) and not self._apply):
                continue
            try:
                applied = fix.apply(Path(path).read_bytes(), [edit])
            except fix.FixError:
                continue
            if applied.made:
                return finding.rule, self._original(path), applied.data
        return None

    def _edit(self, finding: Diagnostic, run: Run) -> Fix | None:
        rules = {rule.name: rule for rule in pipeline.chosen(self._settings)}
        scripts = pipeline.read([Path(name) for name in run.files], rules.values())
        script = next((script for script in scripts if script.path == finding.location.path), None)
        made = rules[finding.rule].fix(finding, script) if script is not None and finding.rule in rules else None
        return made if made and all(place.path == finding.location.path for place in made.places) else None

    def _is_beyond(self, path: str) -> bool:
        """Whether a file is not the script itself, of which a copy can be run."""
        return self._script is None or not _same(path, self._copy or self._script)

    def _original(self, path: str) -> str:
        return self._script if self._copy is not None and self._script and _same(path, self._copy) else path

    def _put(self, path: str, data: bytes) -> tuple[str, ...]:
        """The command of the edited script."""
        if self._apply:
            from modellint import patch

            patch.write({path: data})
            return self._command
        original = Path(path)
        self._copy = original.with_name(f".modellint-{os.getpid()}-{original.name}")
        self._copy.write_bytes(data)
        return tuple(str(self._copy) if word == self._script else word for word in self._command)


def _wanted(state: State) -> Iterator[Diagnostic]:
    """The findings whose remedy cures, the root cause first; after such a fix also those whose remedy does no harm."""
    proof = state.report.proof or Proof()
    cured = _rules(proof, Effect.CURED)
    harmless = _rules(proof, Effect.IMPROVED, Effect.NO_EFFECT) if state.made else []
    wanted = [rule for rule in dict.fromkeys((proof.root, *cured, *harmless)) if rule]
    yield from (finding for rule in wanted for finding in state.report.diagnostics if finding.rule == rule)


def _rules(proof: Proof, *effects: Effect) -> list[str]:
    return [rule for trial in proof.trials if trial.effect in effects for rule in trial.rules]


def _is_better(before: State, after: State, rule: str) -> bool:
    """The finding is gone, and the run is no worse for it."""
    if after.report.problem is not None or any(finding.rule == rule for finding in after.left):
        return False
    return compare(before.run, before.report, after.run, after.report).verdict != "worse"


def _same(one: str | Path, other: str | Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
