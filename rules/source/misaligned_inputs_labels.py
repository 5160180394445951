"""ML134."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.core.record import dataclass
from modellint.source import tensors
from modellint.source.code import Event, Function, Value

INPUTS = "xs? inputs? data images? imgs features? samples? texts? sentences? sequences? signals?".split()
LABELS = {
    "x": ("y",), "input": ("label", "target"), "data": ("label", "labels", "target", "targets"),
    "image": ("label", "mask"), "img": ("label",), "feature": ("label", "target"), "sample": ("label", "target"),
    "text": ("label",), "sentence": ("label",), "sequence": ("label", "target"), "signal": ("label",),
}  # fmt: skip
INPUT = pattern("|".join(INPUTS), re.IGNORECASE)
SHUFFLES = ("random.shuffle", "numpy.random.shuffle")
GENERATORS = ("default_rng", "RandomState", "Random")
PERMUTATIONS = ("randperm", "permutation")
DRAWN = pattern(rb"(?<!\w)(?<!def )(?:randperm|permutation)\(")
INDEXED = pattern(
    rb"^[ \t]*(?:[\w.]+, *)*?([\w.]+)(?:, *[\w.]+)* *=[^\n]*(?<![\w.])\1\[", re.MULTILINE
)  # `x = x[order]`
SEEDS = frozenset(
    {"seed", "manual_seed", "set_state", "setstate", "set_rng_state", "RandomState", "default_rng", "Random"}
)


@dataclass(frozen=True, slots=True)
class Shuffle:
    name: str  # what is brought into a new order
    order: object  # tells orders apart
    event: Event


class MisalignedInputsLabels(SourceRule):
    """Inputs and labels are brought into different orders: the model learns labels of other samples.

    Why: two calls of `shuffle` or `randperm` draw two orders. Every sample then has the label of another one; a large
        model still memorises them, so that the training loss falls while the test score stays at chance.
    Fix: draw one permutation and index both with it, or shuffle the pairs.
    Ignore: when labels are meant to be random, as a control.
    Reported: https://github.com/xudonmao/VMT/issues/1, https://github.com/DrexelChatbotGroup/DrexelChatbot/issues/15
    """

    code, severity, certain, topic = "ML134", Severity.ERROR, True, "data"
    calls = ("shuffle", *PERMUTATIONS)
    words = (
        ("shuffle(", pattern(rb"\.shuffle\(\s*[\w.]+\s*\)|import [^\n]*\bshuffle\b")),
        *((drawn, DRAWN, INDEXED) for drawn in ("randperm(", "permutation(")),
    )
    bad = (
        """
        import torch

        x_train = x_train[torch.randperm(len(x_train))]
        y_train = y_train[torch.randperm(len(y_train))]
        """,
        """
        import numpy as np

        class Data:
            def mix(self):
                np.random.shuffle(self.images)
                np.random.shuffle(self.labels)
        """,
        """
        import torch

        for epoch in range(10):
            order = torch.randperm(len(inputs))
            inputs = inputs[order]
            for x, y in zip(inputs.split(32), targets.split(32)):
                criterion(model(x), y).backward()
        """,
        """
        import numpy as np

        rng = np.random.default_rng(0)
        rng.shuffle(X)
        for i in range(0, len(X), 32):
            criterion(model(torch.from_numpy(X[i:i + 32])), torch.from_numpy(y[i:i + 32])).backward()
        """,
    )
    good = (
        """
        import torch

        order = torch.randperm(len(x))
        x, y = x[order], y[order]
        """,
        """
        import numpy as np

        np.random.seed(0)
        np.random.shuffle(images)
        np.random.seed(0)
        np.random.shuffle(labels)
        """,
        """
        import torch

        order = torch.randperm(len(x))
        mixed = 0.7 * x + 0.3 * x[order]
        loss = 0.7 * criterion(model(mixed), y) + 0.3 * criterion(model(mixed), y[order])
        """,
        """
        import random

        random.shuffle(train_images)
        random.shuffle(test_labels)
        """,
        """
        import torch

        rng = np.random.default_rng(0)
        rng.shuffle(names)  # a list that has nothing to do with the samples
        for i in range(0, len(x), 32):
            criterion(model(x[i : i + 32]), y[i : i + 32]).backward()
        """,
        """
        import numpy as np

        rng = np.random.RandomState(0)
        rng.shuffle(x)
        y = [label_of(sample) for sample in x]
        for i in range(0, len(x), 32):
            criterion(model(x[i : i + 32]), y[i : i + 32]).backward()
        """,
        """
        import torch

        x = x[:, torch.randperm(784)]  # the same order of pixels for all samples
        pairs = zip(x, y)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            found = {shuffle.name: shuffle for shuffle in _shuffles(function)}
            for name, shuffle in found.items():
                labels = list(_labels(name))
                other = next((found[label] for label in labels if label in found), None)
                if other is not None and other.order != shuffle.order and not _seeded(function):
                    message = f"brings `{name}` and `{other.name}` into two different orders"
                    yield self.at(shuffle.event, message)
                elif other is None and (label := _paired(function, name, labels, shuffle.event)):
                    message = f"brings `{name}` into a new order and leaves `{label}` in the old one"
                    yield self.at(shuffle.event, message, certain=False)


def _shuffles(function: Function) -> Iterator[Shuffle]:
    for at, event in enumerate(function.events):
        value = event.value
        if value is None:
            continue
        if event.kind == "call" and value.method == "shuffle" and value.base is None and len(value.arguments) == 1:
            name = value.arguments[0].name
            if value.arguments[0].kind == "name" and (value.name in SHUFFLES or _is_generator(function, value)):
                yield Shuffle(name, at, event)
        elif (
            event.kind == "assign" and value.kind == "item" and value.base is not None and value.base.name == event.name
        ):
            order = _order(value.arguments[0], function, at)
            if order is not None:
                yield Shuffle(event.name, order, event)


def _is_generator(function: Function, shuffle: Value) -> bool:
    """Whether the method is that of a random generator that the function made."""
    owner = shuffle.receiver.name if shuffle.receiver is not None else ""
    return any(made.kind == "call" and made.method in GENERATORS for made in tensors.bounds(function, owner))


def _order(index: Value, function: Function, at: int) -> object:
    """What tells the permutation apart by which something is indexed; None if it is none."""
    if index.kind == "call" and index.method in PERMUTATIONS and not index.keywords:
        return at
    if index.kind == "name":
        for place in range(at - 1, -1, -1):
            event = function.events[place]
            if event.kind == "assign" and event.name == index.name:
                drawn = event.value is not None and event.value.method in PERMUTATIONS and event.value.kind == "call"
                return ("named", place) if drawn else None
    return None


def _labels(name: str) -> Iterator[str]:
    """The names that the labels of such inputs have: `y_train` of `x_train`, `self.labels` of `self.images`."""
    parts = re.split(r"([_.])", name)
    for place, part in enumerate(parts):
        if INPUT.fullmatch(part):
            single = part.lower().removesuffix("s") if part.lower() not in LABELS else part.lower()
            for label in LABELS.get(single, ()):
                plural = "s" if part.lower().endswith("s") and not label.endswith("s") else ""
                for written in (label + plural, label.upper() if len(label) == 1 else label):
                    yield "".join((*parts[:place], written, *parts[place + 1 :]))


def _seeded(function: Function) -> bool:
    return any(call.method in SEEDS for call in function.calls)


def _paired(function: Function, name: str, labels: list[str], shuffled: Event) -> str:
    """The labels that are put beside the inputs afterwards, and that nothing has reordered."""
    kept = [label for label in labels if not any(_renews(event, label, shuffled) for event in function.events)]
    later = [call for call in function.calls if kept and not _is_before(call, shuffled)]
    for call in later:
        given = {part.name for argument in call.arguments for part in argument.within()}
        given |= {part.name.rpartition(".")[0] for argument in call.arguments for part in argument.within()}
        if call.method in ("zip", "TensorDataset") and name in given:
            return next((label for label in kept if label in given), "")
    cut = [batch for call in later for part in call.within() for batch in _batch(part)]
    batches = {index for base, index in cut if base == name}
    return next((base for base, index in cut if base in kept and index in batches), "")


def _renews(event: Event, label: str, shuffled: Event) -> bool:
    """Whether an event may bring the labels into the order of the inputs: before these, only out of themselves."""
    if event.kind != "assign" or event.name != label or event.value is None:
        return False
    return not _is_before(event, shuffled) or any(part.name == label for part in event.value.within())


def _is_before(one: Event | Value, other: Event) -> bool:
    return (one.location.line or 0) < (other.location.line or 0)


def _batch(part: Value) -> Iterator[tuple[str, str]]:
    """Of some that are taken by an index that changes, what they are taken of and the index."""
    if part.kind == "item" and part.base is not None and part.arguments and part.arguments[0].kind != "constant":
        yield part.base.name, str(part.arguments[0])
