"""ML317."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from modellint import Diagnostic, Evidence, Fix, Passed, Run, RuntimeRule, Script, Severity, Step
from modellint.core import edit
from modellint.measure.cast import Loss, Parameter
from modellint.measure.quantities import Pair
from modellint.measure.statistics import effective_classes, imbalance_sigma


def _run(
    counts: Mapping[int, int],
    classes: int,
    weighted: bool = False,
    *parameters: Parameter,
    weights: Sequence[float] = (),
) -> Run:
    loss = Loss("cross_entropy", weighted, class_weights=tuple(weights))
    return Run(steps=(Step(),), classes=classes, label_counts=counts, loss=loss, parameters=parameters)


def _binary(positives: int, rows: int, *places: int, weighted: bool = False) -> Run:
    pair = Pair((rows, *places), (rows, *places), positives=positives)
    return Run(steps=(Step(pair=pair),) * 10, loss=Loss("binary_cross_entropy_with_logits", weighted))


class ClassImbalance(RuntimeRule):
    """A few classes make up most of the labels, and the loss counts every sample alike, or these even more.

    Why: a model that always answers with the common class has a low loss and a high accuracy; the gradients of the
        rare classes are outvoted.
    Fix: weight the loss by the inverse class frequency, or draw balanced batches (WeightedRandomSampler); judge by
        balanced accuracy, because the plain accuracy falls when the imbalance is mended.
    Ignore: when the rare classes matter as little as they are rare, or when the loss itself discounts easy samples.
        Only noted where the loss of each sample is left to the script to weigh (`reduction="none"`), and where the
        labels are those of places, most of which are background. Of several labels a sample, most are absent: these are
        not judged.
    Thresholds: `effective` = the labels are worth less than 70 % of their classes as equally frequent ones
        (Simpson's unbiased estimate: two classes at 83:17 reach it), at least `rows` = 50 labels were seen, and
        balanced classes would do that with less than `sigma` = 5 standard deviations of chance. Next tokens of a
        language model (an embedding has as many rows as there are classes) and labels of a single class are not
        judged. Weights are held for the wrong way round where the logarithms of weight and count, of classes that came at
        least `seen` = 5 times, rise together: a correlation of at least 0.9, a slope of at least `slope` = 0.3. Where one class
        is at least twice as frequent as another, but the labels are no more imbalanced than that, it is only noted: errors of
        one kind may cost more.
    Reported: https://github.com/abhuse/polyloss-pytorch/issues/5
    """

    code, severity = "ML317", Severity.WARNING
    remedy = ("weight-classes", "focal-loss")
    needs = "at least 50 labels of a class loss, of more than one class"
    of_data = True
    effective, rows, sigma, seen, slope = 0.7, 50, 5.0, 5, 0.3
    bad = (
        _run({0: 570, 1: 30}, classes=2),
        _run({0: 570, 1: 30}, 2, True, weights=(0.95, 0.05)),
        _run({0: 400, 1: 120, 2: 30}, 3, True, weights=(1.0, 0.3, 0.08)),
        _run({0: 477, 1: 163}, 2, True, weights=(3.0, 1.0)),
        _run({0: 60, 1: 20, 2: 10, 3: 5, 4: 3, 7: 2}, classes=10),
        _binary(2, 32, 1),
        _binary(31, 32),
    )
    good = (
        _run(dict(enumerate([14, 9, 6, 11, 10, 5, 16, 8, 12, 9])), classes=10),  # 100 rows of a balanced set
        _run({0: 570, 1: 30}, 2, True),
        _run({0: 570, 1: 30}, 2, True, weights=(0.05, 0.95)),
        _run({0: 330, 1: 270}, 2, True, weights=(2.0, 1.0)),
        _run({0: 400, 1: 120, 2: 30}, 3, True, weights=(0.1, 1.0, 1.0)),
        _run({0: 570, 1: 30}, 2, True, weights=(1.0, 1.0)),
        _run({0: 700, 5: 90, 9: 10}, 65, False, Parameter("wte.weight", (65, 32), "wte", "Embedding")),
        _run({0: 640}, classes=65536),  # a contrastive loss: the positive is always the first
        _run({0: 3, 4: 1}, classes=50),
        _binary(2, 32, weighted=True),
        _binary(13, 32),
        _binary(20, 32, 80),  # eighty tags, few of which a sample has
        _binary(32, 32, 1),  # an adversarial game: all are real
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        counts, classes = (run.label_counts, run.classes or 0) if run.classes else (_two(run), 2)
        total = sum(counts.values())
        if total < self.rows or sum(map(bool, counts.values())) < 2 or _predicts_tokens(run):
            return
        share = effective_classes(counts) / classes
        imbalanced = share < self.effective and imbalance_sigma(counts, classes) > self.sigma
        weights = run.loss.class_weights if run.loss else ()
        if self._rise_together(counts, weights):
            more = ", and the loss weighs the common classes more"
            yield self._finding(run, counts, classes, share, more, mild=not imbalanced)
        elif imbalanced and not (run.loss and run.loss.weighted):
            yield self._finding(run, counts, classes, share)
        elif imbalanced:
            yield self.passed("the loss weights imbalanced classes")
        else:
            yield self.passed(
                "the classes are balanced: rate of the most common", f"{max(counts.values()) / total:.1%}"
            )

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Weights from the labels of each batch: those of the whole data set are better, and not known here."""
        called = (loss for loss in script.losses if loss.location == finding.location and loss.made is None)
        found = (loss for loss in called if loss.kind == "CrossEntropyLoss" and not loss.call.argument(None, "weight"))
        weights = "1 / {1}.bincount(minlength={0}.shape[1]).clamp(min=1)"
        return next((Fix((edit.add(loss.call, "weight", weights),), safe=False) for loss in found), None)

    def _rise_together(self, counts: Mapping[int, int], weights: Sequence[float]) -> bool:
        """Whether the weights grow with the counts that they should be the inverse of."""
        pairs = [
            (math.log(count), math.log(weights[label]))
            for label, count in counts.items()
            if count >= self.seen and 0 <= label < len(weights) and weights[label] > 0
        ]
        if len(pairs) < 2 or any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
            return False
        x, y = zip(*pairs, strict=True)
        if max(x) - min(x) < math.log(2):
            return False
        return statistics.correlation(x, y) >= 0.9 and statistics.linear_regression(x, y).slope >= self.slope

    def _finding(
        self, run: Run, counts: Mapping[int, int], classes: int, share: float, more: str = "", *, mild: bool = False
    ) -> Diagnostic:
        total = sum(counts.values())
        common, count = max(counts.items(), key=lambda item: item[1])
        unseen = classes - len(counts)
        missing = f", and {unseen} of {classes} classes never come" if unseen else f" in {classes} classes"
        message = f"class {common} makes up {count / total:.0%} of {total:,} labels{missing}{more}"
        majority = Evidence("rate of the most common class", count / total, 1 / classes, unit="share")
        worth = Evidence(
            "equally frequent classes that the labels are worth", share * classes, self.effective * classes
        )
        mild = mild or _of_places(run) or (run.loss is not None and run.loss.reduction == "none")
        return self.convict(run.place("loss"), message, majority, worth, severity=Severity.NOTE if mild else None)


def _of_places(run: Run) -> bool:
    """Whether a sample has many labels, one a pixel or a token: there are more of them than samples in the batch."""
    pairs = [(step.rows, step.batch.shape[0]) for step in run.steps if step.rows and step.batch and step.batch.shape]
    return (run.loss is not None and run.loss.dense) or any(rows > samples for rows, samples in pairs)


def _two(run: Run) -> dict[int, int]:
    """The zeros and ones that a binary loss was given, one label a sample."""
    binary = run.loss is not None and run.loss.kind.startswith("binary_cross_entropy")
    pairs = [step.pair for step in run.steps if step.pair and step.pair.positives is not None] if binary else []
    single = [pair for pair in pairs if len(pair.target_shape) < 3 and pair.target_shape[1:] in ((), (1,))]
    positives = sum(pair.positives or 0 for pair in single)
    return {0: sum(pair.target_shape[0] for pair in single if pair.target_shape) - positives, 1: positives}


def _predicts_tokens(run: Run) -> bool:
    return any(p.module_class == "Embedding" and p.shape[:1] == (run.classes,) for p in run.parameters)
