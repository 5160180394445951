"""ML140."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.diagnostic import Location
from modellint.core.pattern import pattern
from modellint.measure.cast import Optimizer, Parameter
from modellint.measure.statistics import median
from modellint.measure.trajectory import no_better_than_guessing

ADAM = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "AMSGrad", "FusedAdam", "Lamb", "LAMB", "FusedLAMB")
SETTING = frozenset({"LambdaLR", "OneCycleLR", "CyclicLR"})  # what the optimizer is given is no rate of theirs
MADE = pattern(rb"(?<!class )\b\w*(?:Adam|AdamW|SGD|RMSprop|Adagrad|LAMB|Lamb)\(")
USUAL = {"SGD": "0.1", "ASGD": "0.1", "Adagrad": "1e-2"}  # others 1e-3


def _run(ratio: float, *losses: float) -> Run:
    weights = [Parameter(name, (8, 8), optimizer=0) for name in ("body.weight", "readout.weight")]
    steps = (Step(i, loss=loss, updates={w.name: ratio for w in weights}) for i, loss in enumerate(losses))
    return Run(tuple(steps), tuple(weights), (Optimizer("Adam", 1.0),))


class LargeLearningRate(SourceRule):
    """The learning rate lies far above the range in which its optimizer is used.

    Why: Adam and its relatives move every weight by about the learning rate in each step, whatever the gradient; at
        0.1 a weight of usual size is rewritten in a step or two. SGD overshoots as soon as the rate exceeds two over
        the curvature of the loss.
    Fix: start from the optimizer's default (Adam 1e-3, AdamW 1e-3, RMSprop 1e-2, SGD 0.1 or less) and raise it with a
        warm-up only while the loss falls.
    Ignore: when the optimizer moves pixels, latent vectors or a single scale rather than a network, and for language
        models under SGD with a clip, where 20 or 30 is usual: a suspicion until a run shows it.
    Thresholds: above `adam` = 0.03, `rmsprop` = 0.03, `sgd` = 3 or `adagrad` = 0.3: thirty times the default of Adam and
        Adagrad and the customary 0.1 of SGD, three times the default of RMSprop. A run confirms it when the median
        update of the weight matrices exceeds `ratio` = 0.1 of the weights in steps 3 to 10 and the loss is no better
        than guessing (0 of 129 healthy runs).
    Reported: https://github.com/OpenNMT/OpenNMT-py/issues/253, https://github.com/facebookresearch/detr/issues/285
    """

    code, severity = "ML140", Severity.WARNING
    explains = ("update-too-large", "exploding-gradients", "loss-not-falling", "cannot-overfit")
    remedy = ("lower-lr", "warm-up")
    words = (
        ("optim.", "](", "lr="),  # of a table of classes
        *((name, MADE) for name in ("Adam(", "AdamW(", "SGD(", "RMSprop(", "Adagrad(", "LAMB(", "Lamb(")),
        "torch.optim, ",
    )
    adam, rmsprop, sgd, adagrad = 0.03, 0.03, 3.0, 0.3
    ratio = 0.1
    bad = (
        "optimizer = torch.optim.Adam(model.parameters(), lr=0.1)",
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=1.0)
        args = parser.parse_args()
        optimizer = torch.optim.AdamW([{"params": head.parameters()}, {"params": body.parameters()}], args.lr)
        """,
        """
        groups = [{"params": body.parameters(), "lr": 1e-4}, {"params": head.parameters(), "lr": 10.0}]
        optimizer = torch.optim.SGD(groups, lr=0.1)
        """,
    )
    fixed = (
        "optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)",
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=1e-3)
        args = parser.parse_args()
        optimizer = torch.optim.AdamW([{"params": head.parameters()}, {"params": body.parameters()}], args.lr)
        """,
        """
        groups = [{"params": body.parameters(), "lr": 1e-4}, {"params": head.parameters(), "lr": 0.1}]
        optimizer = torch.optim.SGD(groups, lr=0.1)
        """,
    )
    good = (
        "optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)",
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)",
        "optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)",
        """
        optimizer = torch.optim.LBFGS(model.parameters(), lr=1)
        """,
        """
        image = torch.rand(1, 3, 64, 64, requires_grad=True)
        optimizer = torch.optim.Adam([image], lr=0.1)  # pixels, not weights
        """,
        """
        optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 512 ** -0.5 * (step + 1) ** -0.5)
        """,
        """
        optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=1000)
        """,
    )
    confirmed_by = _run(0.4, 2.4, 150.0, 240.0, 180.0, 320.0, 250.0)
    not_confirmed_by = _run(0.01, 2.4, 2.3, 2.2, 2.1, 2.0, 1.9)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for made in script.optimizers:
            limit = self._limit(made.family)
            largest = max((rate.value for rate in made.rates), default=0.0)
            if limit is not None and largest > limit and made.of_modules and SETTING.isdisjoint(made.schedulers):
                yield self.at(
                    made,
                    f"gives {made.family.replace('*', 'the optimizer')} a learning rate of {largest:g}; below {limit:g} is usual",
                )

    def _limit(self, family: str) -> float | None:
        limits = {"SGD": self.sgd, "ASGD": self.sgd, "RMSprop": self.rmsprop, "Adagrad": self.adagrad, "*": self.sgd}
        return self.adam if family in ADAM else limits.get(family)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        made = next((made for made in script.optimizers if made.location == finding.location), None)
        limit = self._limit(made.family) if made is not None else None
        if made is None or limit is None:
            return None
        rates = {rate.location: rate for rate in made.rates if rate.value > limit and rate.location.line}
        edits = tuple(edit.replace(rate, USUAL.get(made.family, "1e-3")) for rate in rates.values())
        return Fix(edits, safe=False) if edits else None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        for index, _ in enumerate(run.optimizers):
            series = tuple(self._typical(run, step) for step in run.of(index))
            early = [ratio for ratio in series[2:10] if ratio is not None]
            if len(early) >= 3 and self._is_made_at(run.optimizers[index].location, finding.location):
                holds = median(early) > self.ratio and no_better_than_guessing(run, run.of(index))
                claim = "norm of the update / norm of the weight"
                return Evidence(claim, median(early), self.ratio, holds=holds, series=series)
        return None

    def _typical(self, run: Run, step: Step) -> float | None:
        matrices = {p.name for p in run.parameters if p.is_weight and not p.zero_initialised}
        ratios = [ratio for name, ratio in step.updates.items() if name in matrices and ratio is not None]
        return None if len(ratios) < 2 or step.skipped else median(ratios)

    def _is_made_at(self, place: Location, written: Location) -> bool:
        return place.line is None or written.line in (None, place.line)
