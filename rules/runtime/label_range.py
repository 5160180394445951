"""ML318."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.core.diagnostic import Location, Problem
from modellint.core.pattern import pattern
from modellint.measure.cast import Loss, Optimizer, Parameter
from modellint.measure.quantities import Distribution, Pair

STEPS = 10
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
OUTSIDE = pattern(r"Target (-?\d+) is out of bounds")


def _binary(low: float, high: float, kind: str = BINARY[1]) -> Run:
    pair = Pair((32, 1), (32, 1), Distribution(0.1, 1.0, -2.0, 2.0), Distribution(0.5, 0.5, low, high))
    return Run(steps=(Step(pair=pair),) * 3, loss=Loss(kind))


def _classes(counts: Mapping[int, int], classes: int, rows: int = 32) -> Run:
    loss = Loss("cross_entropy", ignore_index=-100)
    return Run(steps=(Step(rows=rows),) * 3, loss=loss, classes=classes, label_counts=counts)


def _constant(readout: Parameter, losses: int = 1) -> Run:
    step = Step(rows=32, class_losses=losses)
    return Run((step,) * 10, (readout,), (Optimizer(),), loss=Loss("cross_entropy"), classes=6, label_counts={2: 320})


class LabelRange(RuntimeRule):
    """The labels are not what the loss takes: outside its range, all ignored, all of one class, or numbered from 1.

    Why: binary cross entropy with a target of 255 or -1 has no lowest value: it falls for ever and means nothing. A
        batch whose labels are all ignored has a loss of 0/0. Labels from 1 to C train a class that never comes, and
        the last of them is outside if there are only C outputs. A model that sees one class alone learns to say nothing
        else.
    Fix: shuffle data that lies sorted by class; divide masks by their highest value, turn -1 into 0, subtract 1 from
        labels that count from 1; check that `ignore_index` is the padding and no class.
    Ignore: soft labels within 0 and 1 are left out; a class that has no sample yet is only noted.
    Thresholds: a target below 0 or above 1 for a binary loss; no label left at some step; of at least `rows` = 50
        labels for each class none is 0 while every other class comes; all of at least `rows` labels for a readout of
        as many outputs as there are classes (three or more) are the same, in ten steps of the only optimizer, where one
        loss over classes is all that a step takes. Where results are compared, as in a contrastive loss, the label is
        constant by design.
    Reported: https://github.com/milesial/Pytorch-UNet/issues/78
    """

    code, severity, topic = "ML318", Severity.ERROR, "data"
    explains = ("non-finite", "loss-not-falling")
    needs = "the labels of a loss over classes, or the targets of a binary one"
    of_data = True
    rows = 50
    bad = (
        _binary(0.0, 255.0),
        _binary(-1.0, 1.0),
        _classes({}, 10, rows=0),
        _classes({1: 60, 2: 55, 3: 99}, 4),
        _constant(Parameter("head.weight", (6, 64), role="readout")),
        Run(steps=(Step(),), problem=Problem("IndexError: Target 10 is out of bounds.", Location("train.py", 9))),
    )
    good = (
        _binary(0.0, 1.0),
        _binary(0.1, 0.9),
        _binary(-3.0, 255.0, kind="mse"),
        _classes({0: 640}, 64),  # a contrastive loss: the positive is always the first
        _classes({1: 60, 3: 70}, 4),  # too few of the classes come to tell
        _classes({1: 6, 2: 5, 3: 7}, 4),
        _constant(Parameter("project.weight", (16, 64), role="readout")),
        _constant(Parameter("head.weight", (6, 64), role="readout"), losses=2),  # real and invented samples
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        found = [
            *self._crashed(run),
            *self._binary(run),
            *self._ignored(run),
            *self._constant(run),
            *self._from_one(run),
        ]
        yield from found
        if not found and (run.label_counts or _targets(run)):
            yield self.passed("the labels are in the range of the loss")

    def _crashed(self, run: Run) -> Iterator[Diagnostic]:
        label = OUTSIDE.search(run.problem.message) if run.problem else None
        if label and run.problem:
            evidence = Evidence("label", int(label[1]), run.classes)
            yield self.convict(run.problem.location, f"the label {label[1]} has no output", evidence)

    def _binary(self, run: Run) -> Iterator[Diagnostic]:
        targets = _targets(run)
        low = min((t.min for t in targets if t.min is not None), default=0.0)
        high = max((t.max for t in targets if t.max is not None), default=1.0)
        if low < 0 or high > 1:
            below, above = (
                Evidence("lowest target", low, 0.0, holds=low < 0),
                Evidence("highest target", high, 1.0, holds=high > 1),
            )
            message = f"the targets of a binary loss reach from {low:g} to {high:g}"
            yield self.convict(run.place("loss"), message, below, above)

    def _ignored(self, run: Run) -> Iterator[Diagnostic]:
        rows = tuple(step.rows for step in run.steps if step.rows is not None)
        if 0 in rows and run.loss is not None:
            evidence = Evidence("labels that are not ignored", 0, 1, series=rows)
            message = f"all labels of a step are ignored (ignore_index {run.loss.ignore_index})"
            yield self.convict(run.place("loss"), message, evidence)

    def _constant(self, run: Run) -> Iterator[Diagnostic]:
        total, classes = sum(run.label_counts.values()), run.classes or 0
        if len(run.label_counts) == 1 and total >= self.rows and classes > 2 and _only_classifies(run, classes):
            (label,) = run.label_counts
            evidence = Evidence("classes among the labels", 1, classes)
            message = f"all {total:,} labels are of class {label}"
            yield self.convict(run.place("loss"), message, evidence, severity=Severity.WARNING)

    def _from_one(self, run: Run) -> Iterator[Diagnostic]:
        counts, classes = run.label_counts, run.classes or 0
        others = [label for label in range(1, classes) if counts.get(label)]
        if (
            classes > 2
            and not counts.get(0)
            and len(others) == classes - 1
            and sum(counts.values()) >= self.rows * classes
        ):
            evidence = Evidence("labels of class 0", 0, sum(counts.values()) // classes)
            message = f"class 0 never comes, and every other of the {classes} does: do the labels count from 1?"
            yield self.convict(run.place("loss"), message, evidence, severity=Severity.NOTE)


def _only_classifies(run: Run, classes: int) -> bool:
    """Whether a step is one loss over the outputs of a layer that has one for each class, and nothing else."""
    single = all(step.class_losses == 1 for step in run.steps)
    readout = any(p.role == "readout" and p.is_weight and p.shape[0] == classes for p in run.parameters)
    return single and readout and len(run.optimizers) == 1 and len(run.steps) >= STEPS


def _targets(run: Run) -> list[Distribution]:
    binary = run.loss is not None and run.loss.kind in BINARY
    return [step.pair.target for step in run.steps if step.pair] if binary else []
