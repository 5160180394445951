"""ML434."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value

TRAINING = pattern(r"train(ing)?(?![a-z])", re.IGNORECASE)
EVALUATION = pattern(r"(?<![a-z])(test(ing)?|val(id(ation)?)?|eval(uation)?)(?![a-z])", re.IGNORECASE)
COMPOSES = ("Compose", "Sequential")
SHAPES = frozenset(
    "ToTensor ToImage ToDtype ConvertImageDtype PILToTensor ToTensorV2 Resize CenterCrop Grayscale ToPILImage Pad".split()
)


class NormalizationDiffers(SourceRule):
    """The images of the evaluation are normalized by other numbers than those of the training, or not at all.

    Why: the model has only seen inputs of the one scale, and its batch norms know their mean. Shifted or stretched inputs are
        another domain: the score of the evaluation is far below what the model can do, and says nothing of how it learns.
    Fix: give both the same `Normalize`, with the statistics of the training data.
    Ignore: where the evaluation's data is meant to be scaled otherwise.
    Reported: https://github.com/leeyeehoo/CSRNet-pytorch/issues/25,
        https://github.com/Reza-Safdari/SimSiam-91.9-top1-acc-on-CIFAR10/issues/4
    """

    code, severity, certain, topic = "ML434", Severity.WARNING, True, "evaluation"
    words = (("Normalize(", "Compose("), ("Normalize(", "Sequential("))
    bad = (
        """
        from torchvision import transforms

        transform_train = transforms.Compose([
            transforms.RandomCrop(32, padding=4), transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ])
        transform_test = transforms.Compose([
            transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        ])
        """,
        """
        from torchvision import transforms as T

        data_transforms = {
            "train": T.Compose([T.RandomResizedCrop(224), T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]),
            "val": T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor()]),
        }
        """,
    )
    good = (
        """
        from torchvision import transforms

        normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        train_transform = transforms.Compose([transforms.RandomCrop(32), transforms.ToTensor(), normalize])
        test_transform = transforms.Compose([transforms.ToTensor(), normalize])
        """,
        """
        from torchvision import transforms as T

        MEAN = (0.5, 0.5, 0.5)
        train_tf = T.Compose([T.ToTensor(), T.Normalize(MEAN, (0.25,))])
        val_tf = T.Compose([T.ToTensor(), T.Normalize((0.5,), (0.25, 0.25, 0.25))])
        target_train_tf = T.Compose([T.ToTensor()])
        """,
        """
        from torchvision import transforms as T

        train_transform = T.Compose([T.ToTensor(), T.Normalize(mean, std)])
        test_transform = T.Compose([T.ToTensor(), scale_like_the_training])
        """,
        """
        from torchvision import transforms as T

        train_transform = T.Compose([T.ToTensor()])
        train_transform.transforms.append(T.Normalize((0.5,), (0.5,)))
        test_transform = T.Compose([T.ToTensor(), T.Normalize((0.5,), (0.5,))])
        """,
        """
        from torchvision import transforms as T

        train_transform = T.Compose([T.ToTensor(), T.Normalize((0.5,), (0.5,))])
        test_transform = T.Compose([T.ToTensor()])
        images = normalize(test_transform(image))  # there
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        constants = {
            event.name: event.value
            for function in script.functions
            for event in function.events
            if event.kind == "assign" and event.value is not None
        }
        for function in script.functions:
            for training, evaluation in _pairs(function):
                ours, theirs = _numbers(training, constants), _numbers(evaluation, constants)
                if ours and theirs and ours != theirs:
                    yield self.at(evaluation, f"normalizes by {theirs}, and what the model is trained on by {ours}")
                elif ours and theirs == "" and _is_plain(script, evaluation):
                    yield self.at(evaluation, f"does not normalize, and what the model is trained on is, by {ours}")


def _pairs(function: Function) -> Iterator[tuple[Value, Value]]:
    """The compositions for training and evaluation that have the same name otherwise, in a function or a dict."""
    named = [(e.name, e.value) for e in function.events if e.kind == "assign" and e.value is not None]
    for group in (named, *(value.keywords for _, value in named if value.kind == "dict")):
        composed = [(name, value) for name, value in group if value.kind == "call" and value.method in COMPOSES]
        training = {TRAINING.sub("*", name): value for name, value in composed if TRAINING.search(name)}
        for name, value in composed:
            if EVALUATION.search(name) and (match := training.get(EVALUATION.sub("*", name))) is not None:
                yield match, value


def _numbers(composed: Value, constants: Mapping[str, Value]) -> str | None:
    """The numbers that a composition normalizes by; "" where it does not, None where they cannot be read."""
    given = [part for value in composed.arguments for part in (value.arguments if value.kind == "list" else [value])]
    steps = [constants.get(part.name, part) if part.kind == "name" else part for part in given]
    if composed.unpacks or any(step.kind != "call" for step in steps):
        return None
    scaling = [step for step in steps if step.method == "Normalize"]
    if len(scaling) != 1:
        return None if scaling else ""
    read = [_row(constants.get(v.name, v)) if v is not None else None for v in _statistics(scaling[0], constants)]
    return " and ".join(map(str, read)) if None not in read else None


def _statistics(scaling: Value, constants: Mapping[str, Value]) -> tuple[Value | None, ...]:
    """The mean and the deviation, also where both are unpacked from one constant: `Normalize(*stats)`."""
    first = scaling.arguments[0] if len(scaling.arguments) == 1 else None
    if first is not None and first.kind == "starred":
        held = constants.get(str(first.base))
        return held.arguments if held is not None and len(held.arguments) == 2 else (None,)
    return scaling.argument(0, "mean"), scaling.argument(1, "std")


def _row(value: Value) -> float | tuple[float, ...] | None:
    """The numbers of a list; one that holds for each channel stands alone."""
    parts = value.arguments if value.kind in ("list", "tuple") else (value,)
    numbers = [float(part.constant) for part in parts if isinstance(part.constant, int | float)]
    if len(numbers) != len(parts) or not parts:
        return None
    return tuple(numbers) if len(set(numbers)) > 1 else numbers[0]


def _is_plain(script: Script, composed: Value) -> bool:
    """Whether a composition only brings images into shape, and nothing else in the file may normalize them."""
    steps = [part for value in composed.arguments for part in value.arguments]
    others = script.called & {"normalize", "append", "insert", "standardize"}
    return not others and all(step.method in SHAPES for step in steps)
