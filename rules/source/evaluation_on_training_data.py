"""ML172."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup
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
HOOKS = ("val_dataloader", "test_dataloader")
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
    words = (
        ("DataLoader", "train"),
        ("train_loader", "len("),
        ("DataLoader", "random_split"),
        ("torchvision", "train=True"),
        ("Trainer(", "eval_dataset"),
    )
    bad = (
        """
        from torch.utils.data import DataLoader, random_split

        first, second = random_split(data, [50000, 10000])
        train_dl = DataLoader(first, batch_size=128, shuffle=True)
        held_out_dl = DataLoader(first, batch_size=256)
        """,
        """
        def fit(net, train_loader, val_loader, optimizer):
            for epoch in range(10):
                net.train()
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    optimizer.step()
                net.eval()
                total = 0.0
                with torch.no_grad():
                    for x, y in train_loader:
                        total += F.cross_entropy(net(x), y).item()
                print(total / len(val_loader))
        """,
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
        """
        from torch.utils.data import DataLoader, random_split

        def loaders(data):
            train, val = random_split(data, [800, 200])
            return DataLoader(train, batch_size=8, shuffle=True), DataLoader(train, batch_size=8)
        """,
        """
        class Data(L.LightningDataModule):
            def setup(self, stage):
                self.train, self.val = TensorDataset(x[:500], y[:500]), TensorDataset(x[500:], y[500:])

            def train_dataloader(self):
                return DataLoader(self.train, batch_size=32, shuffle=True)

            def val_dataloader(self):
                return DataLoader(self.train, batch_size=32)
        """,
        """
        trainer = transformers.Trainer(model=model, args=args, train_dataset=data["train"], eval_dataset=data["train"])
        """,
    )
    good = (
        """
        from torch.utils.data import DataLoader, random_split

        first, second = random_split(data, [50000, 10000])
        train_dl, again = DataLoader(first, batch_size=128, shuffle=True), DataLoader(first, batch_size=256)
        held_out_dl = DataLoader(second, batch_size=256)
        few, _ = random_split(data, [100, 59900])
        few_dl = DataLoader(few, batch_size=10)
        """,
        """
        def fit(net, train_loader, val_loader, optimizer):
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
            net.eval()
            with torch.no_grad():
                for loader in (train_loader, val_loader):
                    total = sum(F.cross_entropy(net(x), y).item() for x, y in loader)
                for x, y in train_loader:
                    score = net(x)
            print(total / len(val_loader))
        """,
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
        from torch.utils.data import DataLoader, random_split

        def loaders(data):
            train, val = random_split(data, [800, 200])
            check(val)
            return DataLoader(train, batch_size=8, shuffle=True), DataLoader(train, batch_size=8)
        """,
        """
        class Data(L.LightningDataModule):
            def setup(self, stage):
                self.train, self.val = TensorDataset(x[:500], y[:500]), TensorDataset(x[500:], y[500:])

            def train_dataloader(self):
                return DataLoader(self.train, batch_size=32, shuffle=True)

            def val_dataloader(self):
                return DataLoader(self.val, batch_size=32)

        trainer = transformers.Trainer(model, args, train_dataset=data["train"], eval_dataset=data["validation"])
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
        yield from self._gone_over_twice(script)
        for function in script.functions:
            yield from self._half_used(function)
            bound = Counter(event.name for event in function.events if event.kind == "assign")
            for event in function.events:
                data = _data(event)
                if bound[event.name] > 1:  # a second loader of that name has another purpose
                    continue
                if data is not None and _is(EVALUATION, TRAINING, event.name) and _is(TRAINING, EVALUATION, data.name):
                    left = next(_unused(data, (function,)), "")
                    beside = f", and `{left}` to none" if left else ""
                    message = f"gives `{data.name}` to `{event.name}`{beside}"
                    yield self.at(event.value or data, message, certain=bool(left))
                elif event.kind == "return" and event.value is not None:
                    yield from self._twice(function, event.value)
                    yield from self._hooked(script, function, event.value)
        for call in script.calls if any(name.endswith("Trainer") for name in script.called) else ():
            yield from self._trainer(call)

    def _twice(self, function: Function, returned: Value) -> Iterator[Diagnostic]:
        """Of loaders that are returned together, the second one over the same data, where what is held out gets none."""
        seen = set[str]()
        for data in map(_given, returned.arguments if returned.kind == "tuple" else ()):
            if data is not None and data.name in seen and _is(TRAINING, EVALUATION, data.name):
                for left in islice(_unused(data, (function,)), 1):
                    yield self.at(data, f"gives `{data.name}` to a second loader, and `{left}` to none", certain=True)
            seen |= {data.name} if data is not None else set()

    def _hooked(self, script: Script, function: Function, loader: Value) -> Iterator[Diagnostic]:
        """What a `val_dataloader()` of Lightning returns."""
        data, name = _given(loader), function.name.rpartition(".")[2]
        if data is not None and function.owner and name in HOOKS and _is(TRAINING, EVALUATION, data.name):
            methods = (other for other in script.functions if other.owner == function.owner)
            left = next(_unused(data, methods), "")
            beside = f", and `{left}` to none" if left else ""
            yield self.at(loader, f"gives `{data.name}` to `{name}()`{beside}", certain=bool(left))

    def _trainer(self, call: Value) -> Iterator[Diagnostic]:
        """A Trainer of transformers that is told one data set twice."""
        learned, judged = call.argument(None, "train_dataset"), call.argument(None, "eval_dataset")
        same = learned is not None and learned.kind != "constant" and str(learned) == str(judged)
        if same and call.method.endswith("Trainer"):
            yield self.at(call, f"trains on `{learned}` and evaluates on it", certain=False)

    def _gone_over_twice(self, script: Script) -> Iterator[Diagnostic]:
        """An evaluation goes over the training loader, and one for the evaluation is only asked how long it is."""
        for evaluation in script.evaluations:
            over, function = evaluation.over, lookup.function(script, evaluation.location)
            name = _bare(over) if over is not None else ""
            if function is not None and name and _is(TRAINING, EVALUATION, name) and "loader" in name:
                lengths = {call.arguments[0].name for call in function.calls if call.name == "len" and call.arguments}
                left = next((n for n in sorted(lengths) if "loader" in n and _is(EVALUATION, TRAINING, n)), "")
                if left and _is_only_measured(function, left) and over is not None:
                    yield self.at(
                        evaluation.loop,
                        f"evaluates on `{name}`, and `{left}` is only asked for its length",
                        certain=True,
                    )

    def _half_used(self, function: Function) -> Iterator[Diagnostic]:
        """One part of a split has two loaders, and another has none."""
        parts = {
            e.name: e.value.base
            for e in function.events
            if e.kind == "assign" and e.value is not None and _is_part(e.value)
        }
        made = [(e, data) for e in function.events if parts and (data := _data(e)) is not None and data.name in parts]
        first: dict[str, str] = {}
        for event, data in made:
            split, other = parts[data.name], first.setdefault(data.name, event.name)
            left = next((n for n, base in parts.items() if base is split and not _is_named(function, n)), "")
            if other != event.name and left:
                message = (
                    f"gives `{data.name}` to `{event.name}` as to `{other}`, and `{left}` of the same split to none"
                )
                yield self.at(event.value or data, message, certain=True)

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


def _bare(value: Value) -> str:
    while value.kind == "call" and value.method in ("enumerate", "tqdm") and value.arguments:
        value = value.arguments[0]
    return value.name if value.kind == "name" else ""


def _is_only_measured(function: Function, name: str) -> bool:
    """Whether nothing but `len()` uses a name."""
    values = [b.value for b in function.blocks] + [c for c in function.calls if c.name != "len"]
    values += [e.value for e in function.events if e.kind in ("assign", "augment", "return", "yield")]
    used = (part for value in values if value is not None for part in _unmeasured(value))
    return not any(part.name == name or part.name.startswith(f"{name}.") for part in used)


def _unmeasured(value: Value) -> Iterator[Value]:
    """What is inside a value, without what `len()` is given."""
    if value.name != "len":
        yield value
        parts = (*value.arguments, *(v for _, v in value.keywords), *((value.base,) if value.base is not None else ()))
        yield from (found for part in parts for found in _unmeasured(part))


def _is_part(value: Value) -> bool:
    """One of the parts that a random split gives."""
    return value.kind == "item" and value.base is not None and value.base.method == "random_split"


def _is_named(function: Function, name: str) -> bool:
    parts = (part for e in function.events if e.value is not None for part in e.value.within())
    return any(part.name == name or part.name.startswith(f"{name}.") for part in parts)


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
    """What a loader that is bound to a name is given."""
    return _given(event.value) if event.kind == "assign" and event.value is not None else None


def _given(call: Value) -> Value | None:
    """What a loader is given, if it is a name, all of it."""
    if call.method != "DataLoader" or call.unpacks:
        return None
    given = call.argument(0, "dataset")
    named = given is not None and given.kind in ("name", "attribute") and not any(call.argument(None, n) for n in SOME)
    return given if named and call.argument(3, "sampler") is None else None


def _is(one: re.Pattern[str], other: re.Pattern[str], name: str) -> bool:
    last = name.rpartition(".")[2]
    return one.search(last) is not None and other.search(last) is None


def _unused(training: Value, functions: Iterable[Function]) -> Iterator[str]:
    """The data sets for the evaluation that are made as the one for the training is, and that nothing is given."""
    events = [event for function in functions for event in function.events]
    makers = {maker for event in events if event.name == training.name and (maker := _maker(event))}
    made = [event.name for event in events if _maker(event) in makers]
    used = {part.name for e in events if e.value is not None for part in e.value.within()}
    used |= {name.rpartition(".")[0] for name in used}
    yield from (name for name in made if _is(EVALUATION, TRAINING, name) and name not in used)


def _maker(event: Event) -> str | None:
    """What is called to make what a name is bound to, alone or as one of several."""
    made = event.value.base if event.value is not None and event.value.kind == "item" else event.value
    return made.name if event.kind == "assign" and made is not None and made.kind == "call" else None
