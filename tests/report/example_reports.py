"""Reports as literal values: the audit of a failing classifier, a healthy run, a probe that broke, a plain check."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from modellint.core.diagnostic import (
    Diagnostic,
    Evidence,
    Location,
    Passed,
    Problem,
    Report,
    Severity,
    Unchecked,
    Verdict,
)

SCRIPT = """\
import torch
from torch import nn


class SeedClassifier(nn.Module):
    def __init__(self, classes=50):
        super().__init__()
        self.representation = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.readout = nn.Linear(128, classes)

    def forward(self, features):
        return self.readout(self.representation(features))


def train(model, loader, steps=10):
    optimizer = torch.optim.Adam(model.parameters(), lr=1.5)
    for features, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(features), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1e9)
        optimizer.step()
"""

NORMS = (0.45, 3.2, 41.0, 512.0, 6_030.0, 18_200.0, 60_100.0, 88_000.0, 97_400.0, 103_109.0)

WITHOUT_NORM = Diagnostic(
    rule="readout-without-norm",
    code="ML201",
    severity=Severity.WARNING,
    message="nothing normalizes the features before the readout `self.readout`",
    location=Location("train.py", 12, 16, 12, 59, "readout"),
    verdict=Verdict.CONFIRMED,
    evidence=(
        Evidence(
            "root mean square of the features at the readout",
            4_310.0,
            10.0,
            "",
            True,
            (18.0, 25.0, 90.0, 400.0, 4_310.0),
        ),
        Evidence("normalization layers between the last two weight layers", 0, 1),
    ),
    help="Features of any size reach the readout, and the gradient of its weights grows in proportion to them.",
    fix="put `nn.LayerNorm(128)` between the representation and the readout",
    remedy="normalize-readout",
    proof="10 steps again with the fix: gradient norm <= 53, loss 4.5 -> 0.6 (unchanged: 4.5 -> 8.7)",
    explains=("exploding-gradients", "unscaled-features", "collapsed-predictions"),
)
CLIP = Diagnostic(
    rule="clip-never-binds",
    code="ML308",
    severity=Severity.WARNING,
    message="`clip_grad_norm_` is called and never shortens a gradient",
    location=Location("train.py", 21, 9, 21, 73),
    verdict=Verdict.CONFIRMED,
    evidence=(Evidence("largest gradient norm over `max_norm`", 1.03e-4, 0.01),),
    help="The clip is there to bound the step, but its threshold lies above every gradient of the run.",
    fix="lower `max_norm` to about 1",
    remedy="clip",
    explains=("exploding-gradients",),
)
EXPLODING_READOUT = Diagnostic(
    rule="exploding-gradients",
    code="ML302",
    severity=Severity.ERROR,
    message="the gradient of the readout explodes",
    location=Location("train.py", 12, 16, module="readout"),
    verdict=Verdict.CONFIRMED,
    evidence=(Evidence("gradient norm", 103_109.0, 100.0, "", True, NORMS),),
    help="One step moves the weights further than all steps before it.",
    fix="normalize before the readout, and check that the clip binds",
    causes=("readout-without-norm", "clip-never-binds"),
    explains=("collapsed-predictions",),
)
EXPLODING_BODY = Diagnostic(
    rule="exploding-gradients",
    code="ML302",
    severity=Severity.ERROR,
    message="the gradient of the representation explodes",
    location=Location("train.py", 12, 29, module="representation"),
    verdict=Verdict.CONFIRMED,
    evidence=(Evidence("gradient norm", 60_734.0, 100.0, "", True, (0.02, *NORMS[1:9], 60_734.0)),),
    fix="normalize before the readout, and check that the clip binds",
    causes=("readout-without-norm", "clip-never-binds"),
)
COLLAPSED = Diagnostic(
    rule="collapsed-predictions",
    code="ML309",
    severity=Severity.WARNING,
    message="the model predicts 3 distinct classes where the batch of 10 holds 9",
    location=Location("train.py", 19, 16),
    verdict=Verdict.CONFIRMED,
    evidence=(Evidence("distinct predictions", "3 of 10"), Evidence("standard score of that count", -5.2, -4.0)),
    causes=("exploding-gradients",),
)
IMBALANCE = Diagnostic(
    rule="class-imbalance",
    code="ML317",
    severity=Severity.WARNING,
    message="the classes are imbalanced: the most frequent one is 31 % of the labels, 22 of 50 never occur",
    location=Location("train.py", 19, 16, 19, 68),
    verdict=Verdict.CONFIRMED,
    evidence=(Evidence("share of the most frequent class", 0.31, 0.2, "fraction"),),
    help="The loss is dominated by a few classes, and the others are learned late or never.",
    fix="weight the classes (`CrossEntropyLoss(weight=...)`), use a focal loss, or balance the batches",
    remedy="weight-classes",
)
LARGE_RATE = Diagnostic(
    rule="large-learning-rate",
    code="ML140",
    severity=Severity.ERROR,
    message="Adam with a learning rate of 1.5",
    location=Location("train.py", 16, 17, 16, 61),
    verdict=Verdict.CONFIRMED,
    evidence=(
        Evidence(
            "median update over weight", 0.62, 0.1, "", True, (0.4, 0.9, 0.8, 0.62, 0.7, 0.62, 0.5, 0.62, 0.3, 0.2)
        ),
    ),
    help="Adam moves every weight by about the learning rate at each step.",
    fix="start at 1e-3",
    remedy="lower-lr",
)
MISSING_SCHEDULE = Diagnostic(
    rule="missing-warm-up",
    code="ML199",
    severity=Severity.WARNING,
    message="no warm-up before the full learning rate",
    location=Location("train.py", 16, 17, 16, 61),
    fix="let the rate rise over the first hundred steps",
)
STALE = Diagnostic(
    rule="stale-gradients",
    code="ML306",
    severity=Severity.ERROR,
    message="gradients of the last step are still there",
    location=Location("train.py", 20, 9, 20, 24),
    verdict=Verdict.NOT_OBSERVED,
    evidence=(Evidence("gradient norm at the first backward()", 0.0, 0.0, "", False),),
)
RUN = {
    "command": ["python", "train.py", "--lr", "1.5"],
    "status": "completed",
    "requested_steps": 10,
    "steps": 10,
    "seconds": {"start": 2.9, "steps": 0.4, "total": 6.13},
    "model": {"name": "SeedClassifier", "parameters": 31_282, "readout": "readout"},
    "loss": {"kind": "cross_entropy", "weighted": False},
    "classes": 50,
    "optimizers": [{"name": "Adam", "learning_rate": 1.5, "parameters": 6}],
    "environment": {"python": "3.11.2", "torch": "2.13.0", "device": "cpu"},
    "written": ["weights.pt"],
    "folder": ".modellint_cache/runs/1",
}
PASSED = (
    Passed("features differ between the samples of a batch", 3.2, 0.0),
    Passed("logits are not identical", 38.0, 0.05),
    Passed("parameters that receive a gradient", "6 of 6"),
    Passed("accuracy rose within the probe", "0 % .. 40 %"),
)
UNCHECKED = (
    Unchecked("Loss scale skips too many steps.", "needs a gradient scaler", "loss-scale-skips"),
    Unchecked("Replicas differ.", "needs more than one process", "rank-divergence"),
    Unchecked("The scaler is bypassed.", "needs a gradient scaler", "scaler-bypassed"),
)

AUDIT = Report(
    diagnostics=(
        LARGE_RATE,
        WITHOUT_NORM,
        CLIP,
        IMBALANCE,
        EXPLODING_READOUT,
        EXPLODING_BODY,
        COLLAPSED,
        MISSING_SCHEDULE,
        STALE,
    ),
    passed=PASSED,
    unchecked=UNCHECKED,
    run=RUN,
    settings={"rules": ["large-learning-rate", "readout-without-norm"], "root": "."},
)
HEALTHY = Report(passed=PASSED, run=RUN, settings={"rules": ["large-learning-rate"]})
BROKEN = Report(
    diagnostics=(LARGE_RATE,),
    run={**RUN, "status": "failed", "steps": 3},
    problem=Problem(
        "the script raised ValueError: Expected input batch_size (10) to match target batch_size (9)",
        Location("train.py", 19, 16),
        'Traceback (most recent call last):\n  File "train.py", line 19, in train\n\x1b[31mValueError\x1b[0m: Expected',
    ),
)
CHECKED = Report(diagnostics=(MISSING_SCHEDULE,), settings={"rules": ["missing-warm-up"]})
EMPTY = Report()


def with_message(message: str) -> Report:
    """One confirmed error that says `message`."""
    return Report((replace(LARGE_RATE, message=message, evidence=()),), run=RUN)


def random_report(seed: int) -> Report:
    """Any report that the dataclasses allow: odd texts, numbers that are not finite, causes in circles."""
    pick = random.Random(seed)
    return Report(
        diagnostics=tuple(_diagnostic(pick) for _ in range(pick.randrange(8))),
        passed=tuple(Passed(_text(pick), _number(pick), _number(pick)) for _ in range(pick.randrange(3))),
        unchecked=tuple(Unchecked(_text(pick), _text(pick), _text(pick)) for _ in range(pick.randrange(3))),
        run=pick.choice((None, {}, RUN, {"seconds": 2.0, "loss": "mse", "optimizers": ["SGD"]})),
        problem=pick.choice((None, Problem(_text(pick), _location(pick), _text(pick)))),
    )


def _diagnostic(pick: random.Random) -> Diagnostic:
    return Diagnostic(
        rule=pick.choice("abcde"),
        code=f"ML{pick.randrange(100, 400)}",
        severity=pick.choice(list(Severity)),
        message=_text(pick),
        location=_location(pick),
        verdict=pick.choice(list(Verdict)),
        evidence=tuple(_evidence(pick) for _ in range(pick.randrange(3))),
        help=_text(pick),
        fix=pick.choice((None, _text(pick))),
        remedy=pick.choice((None, "clip")),
        proof=pick.choice((None, _text(pick))),
        causes=tuple(pick.choices("abcdex", k=pick.randrange(3))),
        explains=tuple(pick.choices("abcdex", k=pick.randrange(3))),
    )


def _evidence(pick: random.Random) -> Evidence:
    series = tuple(
        pick.choice((None, math.nan, math.inf, 0.0, pick.gauss(0, 1e5))) for _ in range(pick.choice((0, 1, 2, 9, 500)))
    )
    unit = pick.choice(("", "nats", "fraction", "%"))
    return Evidence(_text(pick), _number(pick), _number(pick), unit, pick.random() < 0.5, series)


def _location(pick: random.Random) -> Location:
    line, column = pick.choice((None, 1, 12, 16, 999)), pick.choice((None, 1, 40, 900))
    end_line, end_column = pick.choice((None, 1, 14, 5_000)), pick.choice((None, 1, 60))
    path = pick.choice((None, "train.py", "gone.py", "目录/训练.py"))
    return Location(path, line, column, end_line, end_column, pick.choice((None, "encoder.layers.0")))


def _number(pick: random.Random) -> float | int | str | None:
    return pick.choice((None, 0, 3, -1.5e-9, 0.5, 103_109.4, 1e300, math.nan, -math.inf, "3 of 10", True))


def _text(pick: random.Random) -> str:
    words = (
        "`code`",
        "`",
        "|",
        "*",
        "_x_",
        "<b>",
        "梯度",
        "a\tb",
        "\n",
        "\x1b[1m",
        "w" * 150,
        "```",
        "1.",
        "#",
        "\ud800",
    )
    return " ".join(pick.choices(words, k=pick.randrange(6)))
