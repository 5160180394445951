"""Verdicts on literal numbers."""

from __future__ import annotations

import math

import pytest

from modellint.core.proof import Effect
from modellint.proof.outcome import Outcome, balanced_accuracy
from modellint.proof.verdict import Verdict, against_the_best, end, judge, judge_balance, noise

DIVERGED = ([3.9, 900.0, 40.0, 8.7, 9.1, 8.5], [3.9, 70.0, 30.0, 6.0, 7.0, 6.5], [3.9, 99.0, 9.0, 9.0, 9.0, 9.0])
LEARNED = ([3.9, 3.1, 2.0, 1.1, 0.9, 0.6], [3.9, 3.0, 2.1, 1.2, 0.8, 0.7], [3.9, 3.2, 2.2, 1.3, 0.9, 0.8])
FLAT = ([3.9, 3.9, 3.8, 3.9, 3.8, 3.9],) * 3


def runs(curves, remedies=("clip",), **fields):
    return [Outcome(tuple(curve), applied=remedies, **fields) for curve in curves]


def effect(tried, found=DIVERGED, **arguments):
    return judge(runs(found), runs(tried), ["clip"], **arguments).effect


def test_a_loss_that_falls_in_every_seed_where_it_rose_is_a_cure():
    assert effect(LEARNED) is Effect.CURED


def test_a_lower_loss_that_does_not_fall_below_its_start_is_no_cure():
    assert effect([[3.9, 9.0, 5.0, 4.0, 4.1, 4.0]] * 3) is Effect.IMPROVED


def test_a_cure_holds_in_every_seed():
    assert effect([*LEARNED[:2], DIVERGED[2]]) is Effect.NO_EFFECT


def test_a_loss_that_starts_out_of_proportion_does_not_hide_the_cure():
    found = [[61.0, 9.0, 4.0, 2.2, 1.9, 1.8]] * 3
    assert effect([[2.6, 2.0, 1.2, 0.8, 0.5, 0.4]] * 3, found=found) is Effect.CURED
    assert effect([[2.6, 2.6, 2.6, 2.6, 2.6, 2.6]] * 3, found=found) is Effect.WORSE


def test_a_leap_on_the_way_is_no_cure():
    leaping = [[3.9, 500.0, 2.0, 1.1, 0.9, 0.6]] * 3
    assert effect(leaping) is Effect.IMPROVED


def test_a_higher_loss_in_every_seed_is_worse():
    assert effect(DIVERGED, found=LEARNED) is Effect.WORSE


def test_the_same_loss_is_no_effect():
    assert effect(FLAT, found=FLAT) is Effect.NO_EFFECT


@pytest.mark.parametrize(("difference", "expected"), [(0.0, Effect.CURED), (2.0, Effect.NO_EFFECT)])
def test_runs_of_one_seed_that_differ_raise_the_bar(difference, expected):
    assert effect(LEARNED, found=FLAT, difference=difference) is expected


def test_values_that_are_no_numbers_come_before_the_loss():
    found = runs([[2.3, math.inf, math.inf]] * 3, finite=False)
    finite = runs([[2.3, 2.0, 1.5]] * 3)
    assert judge(found, finite, ["clip"]).effect is Effect.CURED
    assert judge(finite, found, ["clip"]).effect is Effect.WORSE
    assert judge(found, found, ["clip"]).effect is Effect.NO_EFFECT


def test_a_symptom_that_stays_is_no_cure():
    tried = runs(LEARNED, symptoms=frozenset({"exploding-gradients"}))
    found = judge(runs(DIVERGED), tried, ["clip"], ["exploding-gradients", "non-finite"])
    assert found.effect is Effect.IMPROVED
    assert "exploding-gradients" in found.reason


def test_what_took_no_effect_or_did_not_run_is_not_judged():
    assert judge(runs(DIVERGED), runs(LEARNED, ()), ["clip"]).effect is Effect.NOT_APPLIED
    crashed = [*runs(LEARNED[:2]), Outcome(problem="ended with exit code 1")]
    assert judge(runs(DIVERGED), crashed, ["clip"]).effect is Effect.FAILED


def test_a_cure_far_behind_the_best_is_an_improvement():
    best, slow, worse = Verdict(Effect.CURED, "", 3.0), Verdict(Effect.CURED, "", 1.0), Verdict(Effect.WORSE, "", -1.0)
    assert [v.effect for v in against_the_best([best, slow, worse])] == [Effect.CURED, Effect.IMPROVED, Effect.WORSE]


def test_imbalance_is_judged_by_balanced_accuracy_and_distinct_predictions():
    blind = runs(FLAT, measures={"balanced accuracy": 0.2, "distinct predictions": 1.0})
    seeing = runs(FLAT, measures={"balanced accuracy": 0.5, "distinct predictions": 4.0})
    assert judge_balance(blind, seeing, ["clip"]).effect is Effect.CURED
    assert judge_balance(seeing, blind, ["clip"]).effect is Effect.WORSE
    assert judge_balance(blind, blind, ["clip"]).effect is Effect.NO_EFFECT


def test_the_end_is_a_median_and_noise_the_largest_difference():
    assert end([9.0, 1.0, 2.0, 90.0]) == 2.0
    assert noise(Outcome((1.0, 2.0)), Outcome((1.0, 2.5, 9.0))) == 0.5
    assert noise(Outcome((1.0, math.inf)), Outcome((1.0, math.inf))) == 0.0


def test_balanced_accuracy_counts_every_class_alike():
    assert balanced_accuracy([(0, 0), (0, 0), (0, 0), (0, 1)]) == 0.5
