"""ML156."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tallies
from modellint.source.code import Value

OVER = pattern(rb"/ ?len\((?<!// len\()(?<!//len\()")  # and no whole number of batches
LOADER = pattern(rb"oader|_dl\b|\bdl\b|atches")
NUMBERS = ("item", "float", "double", "cpu")  # `correct.double()`


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
    words = tuple((f"/{space}len(", OVER, LOADER, "sum(", same) for space in (" ", "") for same in ("==", "eq("))
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
        if any(tallies.single(loader.call) for loader in script.loaders):
            return
        made = tallies.loaders(script)
        for function in script.functions:
            counted = {name: over for name, over, added in tallies.sums(function, made) if _counts(added)}
            for division, measured in tallies.divisions(function) if counted else ():
                parts = list(division.arguments[0].within())
                names = {part.name for part in parts if part.kind == "name"}
                names |= {part.name.removesuffix(f".{part.method}") for part in parts if part.method in NUMBERS}
                for name in names & counted.keys():
                    if counted[name] == str(measured):
                        yield self.at(
                            division, f"divides the samples in `{name}` by the number of batches of `{measured}`"
                        )


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
