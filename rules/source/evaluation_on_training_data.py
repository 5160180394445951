"""ML172."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value

EVALUATION = pattern(
    r"(?<![a-z])(val|valid|validation|test|testing|eval|dev)(?![a-z])|(?<![a-z])(val|valid|test)(set|data|loader|dl)",
    re.IGNORECASE,
)
TRAINING = pattern(r"train|(?<![a-z])tr(?![a-z])", re.IGNORECASE)
TESTED = pattern(
    r"(te|tst|test|testing|val|valid|validation|eval)(_?(set|data|dataset|ds))?|\w*(set|data|dataset|ds)_?(test|val|valid)",
    re.IGNORECASE,
)
PARTS = frozenset({"random_split", "Subset", "SubsetRandomSampler", "train_test_split", "KFold", "StratifiedKFold"})
SOME = ("sampler", "batch_sampler")  # a sampler may pick the part that is held out


class EvaluationOnTrainingData(SourceRule):
    """The loader of the evaluation is given the training data.

    Why: the score tells how well the model knows what it was trained on: it rises while the model overfits, picks the
        wrong checkpoint, and never stops early. The line is a copy of the one for training, changed at one end only.
    Fix: give the loader the data set that is held out.
    Ignore: when the score on the training data is what is wanted (name it so: `train_eval_loader` is not reported); a suspicion
        unless a data set for the evaluation is made beside it and no loader is given it.
    Reported: https://github.com/HuCaoFighting/Swin-Unet/issues/135, https://github.com/ChenYichen9527/EV-UAV/issues/25,
        https://github.com/KrishnaDN/x-vector-pytorch/issues/8
    """

    code, severity, topic = "ML172", Severity.WARNING, "data"
    words = (("DataLoader", "train"), ("torchvision", "train=True"))
    bad = (
        """
        from torchvision import datasets

        train_set = datasets.CIFAR10(root, train=True, transform=augmented)
        test_set = datasets.CIFAR10(root, train=True, transform=plain)
        """,
        """
        from torch.utils.data import DataLoader

        db_train, db_val = Slices(root, "train"), Slices(root, "val")
        train_loader = DataLoader(db_train, batch_size=24, shuffle=True)
        val_loader = DataLoader(db_train, batch_size=24, shuffle=False)
        """,
        """
        import torch

        class Trainer:
            def __init__(self, files):
                self.train_set = Speech(files, "train")
                self.train_loader = torch.utils.data.DataLoader(self.train_set, batch_size=8, shuffle=True)
                self.loader_test = torch.utils.data.DataLoader(dataset=self.train_set, batch_size=8)
        """,
    )
    good = (
        """
        from torch.utils.data import Subset
        from torchvision import datasets

        train_set = Subset(datasets.CIFAR10(root, train=True, transform=augmented), kept)
        val_set = datasets.CIFAR10(root, train=True, transform=plain)
        val_set = Subset(val_set, held_out)
        """,
        """
        from torch.utils.data import DataLoader, SubsetRandomSampler

        train_loader = DataLoader(train_set, sampler=SubsetRandomSampler(kept))
        val_loader = DataLoader(train_set, sampler=SubsetRandomSampler(held_out))
        """,
        """
        from torch.utils.data import DataLoader

        train_eval_loader = DataLoader(train_set, batch_size=100)
        test_loader = DataLoader(test_set, batch_size=100, collate_fn=train_set.collate)
        """,
        """
        from torch.utils.data import DataLoader

        train, held_out = random_split(data, [800, 200])
        valid_loader = DataLoader(held_out, batch_size=100)
        latest_loader = DataLoader(train, batch_size=100)
        """,
        """
        from torch.utils.data import DataLoader

        train_val_set = Images(root, "trainval")
        val_loader = DataLoader(train_val_set, batch_size=100)
        """,
        """
        from torch.utils.data import DataLoader

        train_set, test_set = Images(root, "train"), Images(root, "test")
        test_loader = DataLoader(test_set, batch_size=100)
        test_accuracy = measure(model, test_loader)  # kept, and used by nothing
        test_loader = DataLoader(train_set, batch_size=8)  # some samples to look at
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        yield from self._made_twice(script)
        for function in script.functions:
            bound = Counter(event.name for event in function.events if event.kind == "assign")
            for event in function.events:
                data = _data(event)
                if bound[event.name] > 1:  # a second loader of that name has another purpose
                    continue
                if data is not None and _is(EVALUATION, TRAINING, event.name) and _is(TRAINING, EVALUATION, data.name):
                    left = next(_unused(function, data), "")
                    beside = f", and `{left}` to none" if left else ""
                    message = f"gives `{data.name}` to `{event.name}`{beside}"
                    yield self.at(event.value or data, message, certain=bool(left))

    def _made_twice(self, script: Script) -> Iterator[Diagnostic]:
        """The data set for the tests is a library's training part, like the one for training; nothing parts it."""
        made = [(e, e.value) for f in script.functions for e in f.events if e.kind == "assign" and e.value is not None]
        parts = [(event, value) for event, value in made if _train(value) is True]
        if any(_train(value) is False for _, value in made) or any(_parts(c) for c in script.calls):
            return
        for event, value in parts:
            if TESTED.fullmatch(event.name.rpartition(".")[2]) and any(
                other.name == value.name and one.name != event.name for one, other in parts
            ):
                yield self.at(
                    value, f"loads the training part of `{value.method}` once more for `{event.name}`", certain=True
                )


def _parts(call: Value) -> bool:
    """Whether a call takes a part of a data set."""
    return call.method in PARTS or (call.method == "DataLoader" and any(call.argument(None, name) for name in SOME))


def _train(value: Value) -> bool | None:
    """Which part of a data set of torchvision is loaded, if it is one and that is written."""
    given = (
        value.argument(None, "train")
        if value.kind == "call" and value.name.startswith("torchvision.datasets.")
        else None
    )
    return given.constant if given is not None and isinstance(given.constant, bool) else None


def _data(event: Event) -> Value | None:
    """What a loader that is bound to a name is given, if it is a name, all of it."""
    call = event.value
    if event.kind != "assign" or call is None or call.method != "DataLoader" or call.unpacks:
        return None
    given = call.argument(0, "dataset")
    named = given is not None and given.kind in ("name", "attribute") and not any(call.argument(None, n) for n in SOME)
    return given if named and call.argument(3, "sampler") is None else None


def _is(one: re.Pattern[str], other: re.Pattern[str], name: str) -> bool:
    last = name.rpartition(".")[2]
    return one.search(last) is not None and other.search(last) is None


def _unused(function: Function, training: Value) -> Iterator[str]:
    """The data sets for the evaluation that are made as the one for the training is, and that nothing is given."""
    makers = {maker for event in function.events if event.name == training.name and (maker := _maker(event))}
    made = [event.name for event in function.events if _maker(event) in makers]
    used = {part.name for e in function.events if e.value is not None for part in e.value.within()}
    used |= {name.rpartition(".")[0] for name in used}
    yield from (name for name in made if _is(EVALUATION, TRAINING, name) and name not in used)


def _maker(event: Event) -> str | None:
    """What is called to make what a name is bound to, alone or as one of several."""
    made = event.value.base if event.value is not None and event.value.kind == "item" else event.value
    return made.name if event.kind == "assign" and made is not None and made.kind == "call" else None
