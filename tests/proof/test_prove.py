"""From findings to a proof, over runs that are literal numbers: nothing is launched."""

from __future__ import annotations

import pytest

from modellint.core import registry
from modellint.core.diagnostic import Diagnostic, Evidence, Report, Severity, Verdict
from modellint.core.proof import Effect
from modellint.measure.cast import Model, Optimizer
from modellint.measure.run import Run
from modellint.measure.step import Step
from modellint.proof.candidates import candidates, leading
from modellint.proof.conclude import conclude
from modellint.proof.prove import Prover
from modellint.report import render

RULES = {rule.name: rule for rule in registry.load()}
ILL = (3.9, 50.0, 40.0, 30.0, 20.0, 30.0, 25.0, 24.0, 23.0, 26.0)
WELL = (3.9, 3.5, 3.0, 2.5, 2.0, 1.8, 1.5, 1.3, 1.2, 1.0)
BETTER = (3.9, 9.0, 8.0, 7.0, 7.0, 6.0, 6.0, 6.0, 6.0, 6.0)


def run(losses=ILL, *remedies: str, norm: float = 1.0) -> Run:
    steps = tuple(
        Step(i, loss=x, gradient_norm=norm * (100.0 if x > 20 else 1.0), gradient_norm_at_step=norm)
        for i, x in enumerate(losses)
    )
    return Run(
        steps,
        remedies=remedies,
        optimizers=(Optimizer("Adam", 0.1),),
        model=Model("Net", 10, "head"),
        requested_steps=10,
    )


def finding(rule: str, verdict: Verdict = Verdict.CONFIRMED, severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic(rule, RULES[rule].code, severity, f"{rule} is here", verdict=verdict, remedy="x")


class Runs:
    """In the place of a Schedule: what each remedy makes of the losses; `budget` jobs are run."""

    seconds = 1.0

    def __init__(self, budget: int = 1000, **losses: tuple[float, ...]) -> None:
        self.losses, self.left, self.tried = losses, budget, []

    def run(self, jobs):
        return [self._run(job) for job in jobs]

    def _run(self, job):
        names = [offer.name for offer in job.offers]
        self.tried.append("+".join(names))
        self.left -= 1
        key = "_".join(names).replace("-", "_")
        return run(self.losses.get(key, ILL), *names) if self.left >= 0 else None


def prove(report: Report, runs: Runs):
    return Prover(report, run(), RULES, runs, 10).prove()


EXPLODES = Report((finding("exploding-gradients"), finding("large-learning-rate")))


def test_what_cures_alone_is_the_root_cause_and_leads():
    proof = prove(EXPLODES, Runs(scale_lr=WELL, normalize_readout=WELL))
    assert proof.root == "large-learning-rate"
    assert proof.remedy == "learning rate / 10"
    assert {t.label: t.effect for t in proof.trials}["clip at 1, the norm of calm steps"] is Effect.NO_EFFECT
    told = conclude(EXPLODES, proof)
    assert [d.rule for d in told.diagnostics] == ["large-learning-rate", "exploding-gradients"]
    assert "learning rate / 10 cures" in told.diagnostics[0].proof
    assert told.proof.summary.startswith("large-learning-rate is the root cause")


def test_the_next_rung_is_tried_where_one_does_not_cure():
    runs = Runs()
    prove(Report((finding("large-learning-rate"),)), runs)
    assert runs.tried.count("scale-lr") == 6  # / 10 and / 100, three seeds each


def test_pairs_come_last_and_only_where_nothing_cures():
    runs = Runs(scale_lr=BETTER, clip=BETTER, clip_scale_lr=WELL, scale_lr_clip=WELL)
    proof = prove(EXPLODES, runs)
    assert proof.root is None
    cured = [trial for trial in proof.trials if trial.effect is Effect.CURED]
    assert [len(trial.remedies) for trial in cured] == [2]
    assert "together do" in conclude(EXPLODES, proof).proof.summary
    alone = Runs(scale_lr=WELL)
    prove(EXPLODES, alone)
    assert not any("+" in tried for tried in alone.tried)


def test_where_nothing_cures_the_report_says_so():
    assert "no remedy that was tried cures" in conclude(EXPLODES, prove(EXPLODES, Runs())).proof.summary


def test_the_budget_is_kept_and_what_was_not_tried_is_said():
    proof = prove(EXPLODES, Runs(budget=6))
    effects = {trial.effect for trial in proof.trials}
    assert Effect.UNTRIED in effects
    assert "no time" in conclude(EXPLODES, proof).proof.summary


def test_without_time_for_anything_there_is_a_proof_that_says_so():
    proof = prove(EXPLODES, Runs(budget=0))
    assert proof.seeds == 0
    assert "budget" in conclude(EXPLODES, proof).proof.summary


@pytest.mark.parametrize("report", [Report(), Report((finding("removed-api", Verdict.CERTAIN),))])
def test_nothing_is_run_where_no_finding_has_a_remedy(report):
    runs = Runs()
    assert prove(report, runs) is None
    assert runs.tried == []


def test_a_suspicion_is_tried_only_where_the_run_is_ill():
    suspected = Report((finding("loss-sign", Verdict.SUSPECTED),))
    assert leading(suspected, run(WELL)) == []
    assert [d.rule for d in leading(suspected, run(ILL))] == ["loss-sign"]


def test_a_suspicion_whose_remedy_cures_is_confirmed():
    suspected = Report((finding("loss-sign", Verdict.SUSPECTED),))
    proof = prove(suspected, Runs(flip_sign=WELL))
    assert proof.root == "loss-sign"
    assert conclude(suspected, proof).diagnostics[0].verdict is Verdict.CONFIRMED


def test_a_remedy_belongs_first_to_the_rule_that_it_suits_best():
    asked = candidates(list(EXPLODES.diagnostics), run(), RULES)
    owners = {candidate.rungs[0].name: candidate.rules[0] for candidate in asked}
    assert owners["scale-lr"] == "large-learning-rate"
    assert owners["clip"] == "exploding-gradients"


def test_a_users_own_remedy_is_passed_on():
    class Own(type(RULES["loss-sign"])):
        name, remedy = "own", "my.remedies:halve_batch"

    asked = candidates([Diagnostic("own", "X1", Severity.ERROR, "")], run(), {"own": Own()})
    assert asked[0].rungs[0].applied == {"name": "my.remedies:halve_batch"}
    assert asked[0].rungs[0].label == "halve batch"


def test_runs_of_one_seed_that_differ_are_told():
    proof = prove(EXPLODES, Runs(scale_lr=WELL))
    assert proof.noise == 0.0
    noisy = Prover(EXPLODES, run((3.9, 51.0, *ILL[2:])), RULES, Runs(scale_lr=WELL), 10).prove()
    assert noisy.noise == 1.0
    assert "differ by up to 1" in render(conclude(EXPLODES, noisy), "full", width=120)


def test_the_table_is_in_the_reports():
    told = conclude(EXPLODES, prove(EXPLODES, Runs(scale_lr=WELL)))
    markdown, full = render(told, "markdown"), render(told, "full", width=120, color=False)
    assert "## Proof by re-running" in markdown
    assert "| learning rate / 10 | cured |" in markdown
    assert "cured        learning rate / 10: loss 1.2" in full
    assert "= proven:" in full


def test_what_no_rule_says_is_no_obstacle():
    unreadable = Diagnostic("unreadable-file", "ML000", Severity.ERROR, "", verdict=Verdict.CERTAIN)
    proof = prove(Report((unreadable, *EXPLODES.diagnostics)), Runs(scale_lr=WELL))
    assert proof.root == "large-learning-rate"


def test_evidence_of_the_finding_stays():
    shown = Report((Diagnostic("large-learning-rate", "ML140", Severity.ERROR, "", evidence=(Evidence("x", 1.0),)),))
    assert conclude(shown, prove(EXPLODES, Runs(scale_lr=WELL))).diagnostics[0].evidence == (Evidence("x", 1.0),)
