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
LISTINGS = ("listdir", "glob", "iglob", "rglob", "iterdir", "scandir")
LISTED = pattern(
    rb"self\.\w+ *= *[^\n]*(?:listdir|glob|iterdir)\((?s:.)*?self\.\w+ *= *[^\n]*(?:listdir|glob|iterdir)\("
)
UNZIPPED = pattern(rb"= *zip\(\*(?s:.){0,300}?(?m:^)[ \t]*(\w+) *= *sorted\( *\1\b")
PARTNER = pattern(
    r"(?:\w*_)?(?:masks?|labels?|targets?|gts?|segs?|segmentations?|annotations?)(?:_\w+)?", re.IGNORECASE
)
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
    Reported: https://github.com/xudonmao/VMT/issues/1, https://github.com/DrexelChatbotGroup/DrexelChatbot/issues/15,
        https://github.com/chuanyangjin/fast-DiT/issues/4, https://github.com/minar09/cp-vton-plus/issues/8
    """

    code, severity, certain, topic = "ML134", Severity.ERROR, True, "data"
    calls = ("shuffle", *PERMUTATIONS, *LISTINGS, "sorted")
    words = (
        ("shuffle(", pattern(rb"\.shuffle\(\s*[\w.]+\s*\)|import [^\n]*\bshuffle\b")),
        *((drawn, DRAWN, INDEXED) for drawn in ("randperm(", "permutation(")),
        ("__getitem__", LISTED), ("torch", UNZIPPED),
    )  # fmt: skip
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
        """
        class Scans(Dataset):
            def __init__(self, root):
                self.images = os.listdir(os.path.join(root, "images"))
                self.masks = [f for f in os.listdir(os.path.join(root, "masks")) if f.endswith(".png")]

            def __getitem__(self, index):
                return read(self.images[index]), read(self.masks[index])
        """,
        """
        import torch

        def collate(batch):
            texts, labels = zip(*batch)
            texts = sorted(texts, key=len, reverse=True)
            return pad_sequence(texts), torch.tensor(labels)
        """,
    )
    good = (
        """
        class Scans(Dataset):
            def __init__(self, root):
                self.images = sorted(os.listdir(os.path.join(root, "images")))
                self.masks = sorted(os.listdir(os.path.join(root, "masks")))
                self.left, self.labels = glob.glob(root + "/left/*"), glob.glob(root + "/labels/*")
                self.left.sort()
                self.labels.sort()
                self.styles = os.listdir(root)

            def __getitem__(self, index):
                style = self.styles[random.randrange(len(self.styles))]
                return self.images[index], self.masks[index], self.left[index], self.labels[index], style
        """,
        """
        import torch

        def collate(batch):
            batch = sorted(batch, key=lambda pair: len(pair[0]))
            texts, labels = zip(*batch)
            words = sorted(set(texts))
            return pad_sequence(texts), torch.tensor(labels), words
        """,
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
        if not script.called.isdisjoint(LISTINGS):
            yield from self._listed(script)
        for function in script.functions:
            yield from self._sorted(function)
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

    def _listed(self, script: Script) -> Iterator[Diagnostic]:
        """Two listings of files, in whatever order the file system gives them, of which one index takes a pair."""
        for getter in script.functions:
            if not getter.owner or getter.name != f"{getter.owner}.__getitem__" or len(getter.parameters) != 2:
                continue
            index = getter.parameters[1].name
            values = (
                *getter.values,
                *(part for b in getter.blocks if b.value is not None for part in b.value.within()),
            )
            taken = {str(v.base) for v in values if v.kind == "item" and v.arguments[0].name == index and v.base}
            events = [e for f in script.functions if f.owner == getter.owner for e in f.events]
            set_ = [e for e in events if e.kind in ("assign", "augment") and e.name in taken]
            ordered = {
                str(e.value.receiver) for e in events if e.kind == "call" and e.value and e.value.method == "sort"
            }
            plain = {e.name: e for e in set_ if _lists(e.value) and [o.name for o in set_].count(e.name) == 1}
            partner = next((name for name in plain if PARTNER.fullmatch(name.rpartition(".")[2])), "")
            others = [name for name in plain if name != partner and name not in ordered]
            if partner and partner not in ordered and others:
                message = f"takes pairs of `{others[0]}` and `{partner}`, listed in any order the file system gives"
                yield self.at(plain[partner], message, certain=False)

    def _sorted(self, function: Function) -> Iterator[Diagnostic]:
        """One of two sequences that come out of pairs is sorted by itself."""
        parted = dict[str, Value]()
        for event in function.events:
            value = event.value if event.kind == "assign" else None
            if value is not None and value.kind == "item" and value.base is not None and value.base.name == "zip":
                parted[event.name] = value.base
            own = value is not None and value.name == "sorted" and bool(value.arguments)
            if value is not None and own and value.arguments[0].name == event.name and event.name in parted:
                beside = [name for name, base in parted.items() if base is parted[event.name] and name != event.name]
                alike = any(
                    e.kind == "assign" and e.name in beside and e.value and e.value.name == "sorted"
                    for e in function.events
                )
                if beside and not alike:
                    message = f"brings `{event.name}` into a new order and leaves `{beside[0]}` in the old one"
                    yield self.at(event, message, certain=False)


def _lists(value: Value | None) -> bool:
    """Whether a value is a listing of files, as it comes or only filtered."""
    while value is not None and value.kind in ("comprehension", "call") and value.method not in LISTINGS:
        value = (
            value.base
            if value.kind == "comprehension"
            else next(iter(value.arguments), None)
            if value.name == "list"
            else None
        )
    return value is not None and value.kind == "call" and value.method in LISTINGS


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
