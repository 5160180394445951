"""ML156."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value

LOADER = pattern(r"loader|_dl\b|\bdl\b|batches", re.IGNORECASE)
WRAPS = ("enumerate", "tqdm", "iter", "track")


class AccuracyDenominator(SourceRule):
    """Correct samples are counted, and divided by the number of batches: the accuracy is off by the batch size.

    Why: `len(loader)` is how many batches there are. A share of them is no share of the samples: it comes out as 28 where
        0.9 is meant, and a threshold, a schedule or a best value that goes by it means nothing.
    Fix: divide by the number of samples that were counted (`total += len(y)`), or by `len(loader.dataset)`.
    Ignore: when every batch holds one sample.
    Reported: https://github.com/mlflow/mlflow-torchserve/pull/57,
        https://github.com/machine-perception-robotics-group/MPRGDeepLearningLectureNotebook/issues/4
    """

    code, severity, certain, topic = "ML156", Severity.WARNING, True, "evaluation"
    words = (("/ len(", "=="), ("/len(", "=="), ("/ len(", "eq("), ("/len(", "eq("))
    bad = (
        """
        correct = 0
        for x, y in test_loader:
            correct += torch.sum(model(x).argmax(1) == y)
        accuracy = correct.double() / len(test_loader)
        """,
        """
        correct = 0
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()
        accuracy = correct / len(test_loader)
        """,
        """
        def evaluate(model, loader):
            hits = 0
            for i, (x, y) in enumerate(tqdm(loader)):
                hits += torch.sum(model(x).argmax(1).eq(y)).item()
            return 100.0 * hits / len(loader)
        """,
        """
        import numpy as np
        from torch.utils.data import DataLoader

        testing = DataLoader(held_out, batch_size=64)

        def report(model, writer, epoch):
            right = 0
            for x, y in testing:
                right += np.sum(model(x).argmax(1).numpy() == y.numpy())
            writer.add_scalar("accuracy", right / len(testing), epoch)
        """,
    )
    good = (
        """
        correct, total, accuracy = 0, 0, 0.0
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()
            accuracy += (model(x).argmax(1) == y).float().mean().item()
            accuracy += (model(x).argmax(1) == y).sum().item() / len(y)
            total += len(y)
        print(correct / total, accuracy / len(test_loader), correct / len(test_loader.dataset))
        """,
        """
        correct = 0
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()
        print(correct / (len(test_loader) * 32), correct / len(test_loader) / 32)
        """,
        """
        test_loader = DataLoader(test_set, batch_size=1)
        correct = 0
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()
        print(correct / len(test_loader))
        """,
        """
        correct = 0
        for x, y in samples:
            correct += (model(x).argmax(1) == y).sum().item()
        print(correct / len(samples))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if any(_single(loader.call) for loader in script.loaders):
            return
        made = {e.name for f in script.functions for e in f.events if e.kind == "assign" and _is_loader(e.value)}
        for function in script.functions:
            counted, seen = dict(_counted(function, made)), set[int]()
            for event in function.events if counted else ():
                for division in (found for found in _divisions(event) if id(found) not in seen):
                    seen.add(id(division))
                    parts = list(division.arguments[0].within())
                    names = {part.name for part in parts if part.kind == "name"}
                    names |= {part.name.removesuffix(f".{part.method}") for part in parts if part.method in NUMBERS}
                    divisor = str(division.arguments[1].arguments[0])
                    for name in names & counted.keys():
                        if counted[name] == divisor:
                            yield self.at(
                                division, f"divides the samples in `{name}` by the number of batches of `{divisor}`"
                            )


NUMBERS = ("item", "float", "double", "cpu")  # `correct.double()`


def _single(call: Value) -> bool:
    size = call.argument(1, "batch_size")
    return (
        not call.unpacks and (size is None or size.constant in (1, None)) and (size is None or size.kind == "constant")
    )


def _is_loader(value: Value | None) -> bool:
    return value is not None and value.kind == "call" and value.method == "DataLoader"


def _counted(function: Function, loaders: set[str]) -> Iterator[tuple[str, str]]:
    """The names to which correct samples are added in a loop over a loader, with the name of the loader."""
    for event in function.events:
        if event.kind == "augment" and event.value is not None and event.value.name == "+":
            loops = [function.blocks[b] for b in function.enclosing(event.block) if function.blocks[b].kind == "for"]
            over = _bare(loops[0].value) if loops and loops[0].value is not None else ""
            known = over in loaders or (LOADER.search(over) and not over.endswith("dataset"))
            if known and _counts(event.value.arguments[1]):
                yield event.name, over


def _bare(value: Value) -> str:
    while value.kind == "call" and value.method in WRAPS and value.arguments:
        value = value.arguments[0]
    return str(value) if value.kind == "name" else ""


def _counts(value: Value) -> bool:
    """A sum of a comparison, and nothing besides."""
    while value.kind == "call" and value.method in ("item", "float", "int", "cpu", "long", "double", "numpy"):
        inner = value.receiver if value.receiver is not None else next(iter(value.arguments), None)
        if inner is None:
            return False
        value = inner
    of_library = value.name in ("torch.sum", "numpy.sum")
    summed = value.arguments[0] if of_library and len(value.arguments) == 1 else value.base
    if value.method != "sum" or summed is None or (value.arguments and not of_library):
        return False
    while (
        summed.kind == "call" and summed.method in ("float", "int", "cpu", "long", "double") and summed.base is not None
    ):
        summed = summed.base
    return summed.name == "==" or (summed.kind == "call" and summed.method == "eq")


def _divisions(event: Event) -> Iterator[Value]:
    """What is divided by a `len()`, and by nothing else."""
    parts = list(event.value.within()) if event.value is not None else []
    operations = [part for part in parts if part.kind == "operation" and part.name == "/"]
    again = {id(inner) for part in operations for inner in part.arguments[0].within()}
    for part in operations:
        divisor = part.arguments[1]
        if id(part) not in again and divisor.kind == "call" and divisor.name == "len" and len(divisor.arguments) == 1:
            yield part
