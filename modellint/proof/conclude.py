"""A report and its proof to the report that is shown: the root cause leads, what vanishes with it folds under it."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.diagnostic import Diagnostic, Report, Verdict
from modellint.core.proof import Effect, Proof, Spread, Trial
from modellint.core.record import replace
from modellint.report.numbers import number
from modellint.report.trials import NORM, spread

ORDER = (Effect.CURED, Effect.IMPROVED, Effect.NO_EFFECT, Effect.WORSE)
SAID = {
    Effect.CURED: "cures",
    Effect.IMPROVED: "improves, and does not cure",
    Effect.NO_EFFECT: "changes nothing",
    Effect.WORSE: "makes it worse",
}


def conclude(report: Report, proof: Proof) -> Report:
    """`report` with its proof: each finding says what its remedy did."""
    told = tuple(replace(finding, proof=_told(finding, proof)) for finding in report.diagnostics)
    led = tuple(_led(told, proof)) if proof.root else told
    return replace(report, diagnostics=led, proof=replace(proof, summary=summary(proof)))


def summary(proof: Proof) -> str:
    """One sentence: what cures, or that nothing does."""
    if proof.root and proof.remedy:
        trial = next(trial for trial in proof.trials if trial.label == proof.remedy)
        return f"{proof.root} is the root cause: {proof.remedy} alone cures: {course(trial, proof)}"
    if not proof.seeds:
        return "the budget was used up before anything could be tried"
    pairs = [trial for trial in proof.trials if len(trial.remedies) > 1 and trial.effect is Effect.CURED]
    if pairs:
        return f"no remedy alone cures; together do {pairs[0].label}: {course(pairs[0], proof)}"
    untried = sum(trial.effect is Effect.UNTRIED for trial in proof.trials)
    rest = f"; for {untried} there was no time" if untried else ""
    return f"no remedy that was tried cures{rest}"


def course(trial: Trial, proof: Proof) -> str:
    """ "loss 2.1 (2.0 .. 2.2) after 50 steps with 3 seeds; as found 4.37 (3.9 .. 5.1)"."""
    after = f"after {proof.steps} steps with {trial.seeds} seeds"
    return f"{proof.metric} {spread(trial.loss)} {after}; as found {spread(proof.found.loss)}"


def _told(finding: Diagnostic, proof: Proof) -> str | None:
    """What the best of the finding's own remedies did."""
    own = [t for t in proof.trials if finding.rule in t.rules and t.effect in ORDER and len(t.remedies) == 1]
    if not own or not (finding.verdict.convicts or finding.rule == proof.root):
        return None
    best = min(own, key=lambda trial: ORDER.index(trial.effect or Effect.WORSE))
    said = SAID[best.effect or Effect.WORSE]
    return f"{best.label} {said}: {course(best, proof)}{''.join(_aside(best, proof))}"


def _aside(trial: Trial, proof: Proof) -> Iterator[str]:
    """The measure that a remedy did move, where that is no cure."""
    before, after = (each.measures.get(NORM, Spread()) for each in (proof.found, trial))
    if trial.effect is not Effect.CURED and _falls(before, after):
        yield f"; {NORM} {number(before.median)} -> {number(after.median)}"


def _falls(before: Spread, after: Spread) -> bool:
    return before.low is not None and after.high is not None and after.high < before.low / 2


def _led(findings: tuple[Diagnostic, ...], proof: Proof) -> Iterator[Diagnostic]:
    """The findings of the root rule first; those that vanish with its remedy are its symptoms."""
    trial = next(trial for trial in proof.trials if trial.label == proof.remedy)
    root = proof.root or ""
    folded = [f.rule for f in findings if f.verdict.convicts and f.rule in trial.gone and f.rule != root]
    for finding in sorted(findings, key=lambda finding: finding.rule != root):
        if finding.rule == root:
            said = finding.verdict if finding.verdict.convicts else Verdict.CONFIRMED
            yield replace(finding, verdict=said, causes=(), explains=tuple(dict.fromkeys((*finding.explains, *folded))))
        elif finding.rule in folded and finding.verdict.convicts:
            yield replace(finding, causes=tuple(dict.fromkeys((root, *finding.causes))))
        else:
            yield finding
