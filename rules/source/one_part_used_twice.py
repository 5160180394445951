"""ML182."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup, parts
from modellint.source.code import Event, Function, Value

TESTED = pattern(
    r"(te|tst|test|testing|val|valid|validation|eval)(_?(set|data|dataset|ds))?|\w*(set|data|dataset|ds)_?(test|val|valid)",
    re.IGNORECASE,
)
COUNTED = pattern(r"^n$|size|num|len|count|samples|limit|max", re.IGNORECASE)
CHOSEN = frozenset({"Subset", "SubsetRandomSampler", "random_split"})  # by index, of two data sets that are alike
SETS = ("set", "select", "use", "switch")
SPLITS = ("split", "part", "phase", "mode", "subset", "partition")
PARTS = frozenset({"random_split", "Subset", "SubsetRandomSampler", "train_test_split", "KFold", "StratifiedKFold"})


class OnePartUsedTwice(SourceRule):
    """One part of the data serves training and evaluation, and the part that was made for the evaluation is not used.

    Why: the score tells how well the model knows what it was trained on. It rises while the model overfits, and picks the
        wrong checkpoint.
    Fix: evaluate on the other part of the split, on the loader that is only asked for its length, with `train=False`.
    Ignore: never, where the score is to tell of new data.
    Reported: https://github.com/HuCaoFighting/Swin-Unet/issues/135, https://github.com/KrishnaDN/x-vector-pytorch/issues/8
    """

    code, severity, certain, topic = "ML182", Severity.WARNING, True, "data"
    words = (
        ("train_loader", "len(", "val"),
        ("train_loader", "len(", "test"),
        ("DataLoader", "random_split"),
        ("torchvision", "train=True"),
        *(("DataLoader", f'{name}="train"') for name in SPLITS),
        *(("DataLoader", f"{name}='train'") for name in SPLITS),
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
        class Speech(Dataset):
            def __init__(self, root, split="train", noise=True):
                self.files, self.noise = sorted(os.listdir(f"{root}/{split}")), noise

        train_loader = DataLoader(Speech(root), batch_size=16, shuffle=True)
        test_loader = DataLoader(Speech(root, noise=False), batch_size=16)
        """,
    )
    good = (
        """
        class Pets(Dataset):
            def __init__(self, root, split="train"):
                self.files = sorted(os.listdir(f"{root}/{split}"))
        train_ds = Pets("data")
        val_ds = Pets("data")
        val_ds.set_split("val")
        train_loader = DataLoader(train_ds, batch_size=16, shuffle=True)
        val_loader = DataLoader(val_ds)
        """,
        """
        class Pets(Dataset):
            def __init__(self, root, fold, split="train"):
                self.files = sorted(os.listdir(f"{root}/{fold}"))
        train_ds = Pets("data", fold=0)
        val_ds = Pets("data", fold=1)
        train_loader = DataLoader(train_ds, batch_size=16, shuffle=True)
        val_loader = DataLoader(val_ds)
        """,
        """
        class Speech(Dataset):
            def __init__(self, root, split="train", noise=True):
                self.files, self.noise = sorted(os.listdir(f"{root}/{split}")), noise
        train_data = Speech(root)
        val_data = Speech(root, noise=False)
        train_data.files, val_data.files = train_data.files[:800], val_data.files[800:]
        train_loader = DataLoader(train_data, batch_size=16, shuffle=True)
        val_loader = DataLoader(val_data, batch_size=16)
        """,
        """
        from torch.utils.data import SubsetRandomSampler
        class Speech(Dataset):
            def __init__(self, root, split="train", noise=True):
                self.files, self.noise = sorted(os.listdir(f"{root}/{split}")), noise
        train_data = Speech(root)
        val_data = Speech(root, noise=False)
        train_loader = DataLoader(train_data, batch_size=16, sampler=SubsetRandomSampler(idx[:800]))
        val_loader = DataLoader(val_data, batch_size=16, sampler=SubsetRandomSampler(idx[800:]))
        """,
        """
        class Speech(Dataset):
            def __init__(self, root, split="train", noise=True):
                self.files, self.noise = sorted(os.listdir(f"{root}/{split}")), noise
        train_data = Speech(root)
        val_data = Speech(root, noise=False)
        train_loader = DataLoader(Subset(train_data, idx[:800]), batch_size=16, shuffle=True)
        val_loader = DataLoader(Subset(val_data, idx[800:]), batch_size=16)
        """,
        """
        class Speech(Dataset):
            def __init__(self, root, split="train", noise=True):
                self.files, self.noise = sorted(os.listdir(f"{root}/{split}")), noise

        train_loader = DataLoader(Speech(root), batch_size=16, shuffle=True)
        test_loader = DataLoader(Speech(root, split="test", noise=False), batch_size=16)
        other_loader = DataLoader(Speech(test_root, noise=False), batch_size=16)
        """,
        """
        class Speech(Dataset):
            def __init__(self, root, seed, split="train"):
                self.files = chosen(root, seed, split)

        train_loader = DataLoader(Speech(root, 0), batch_size=16, shuffle=True)
        test_loader = DataLoader(Speech(root, 1), batch_size=16)
        """,
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
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if any(full.startswith("torchvision") for full in script.imports.values()):
            yield from self._made_twice(script)
        yield from self._gone_over_twice(script)
        if "DataLoader" in script.called:
            yield from self._left_at_default(script)
            yield from chain.from_iterable(map(self._half_used, script.functions))

    def _gone_over_twice(self, script: Script) -> Iterator[Diagnostic]:
        """An evaluation goes over the training loader, and one for the evaluation is only asked how long it is."""
        for evaluation in script.evaluations:
            over, function = evaluation.over, lookup.function(script, evaluation.location)
            name = _bare(over) if over is not None else ""
            if function is not None and name and parts.trains(name) and "loader" in name:
                lengths = {call.arguments[0].name for call in function.calls if call.name == "len" and call.arguments}
                left = next((n for n in sorted(lengths) if "loader" in n and parts.evaluates(n)), "")
                if left and _is_only_measured(function, left) and over is not None:
                    yield self.at(
                        evaluation.loop,
                        f"evaluates on `{name}`, and `{left}` is only asked for its length",
                    )

    def _half_used(self, function: Function) -> Iterator[Diagnostic]:
        """One part of a split has two loaders, and another has none."""
        split_into = {
            e.name: e.value.base
            for e in function.events
            if e.kind == "assign" and e.value is not None and _is_part(e.value)
        }
        made = [
            (e, data)
            for e in function.events
            if split_into and (data := parts.loaded(e)) is not None and data.name in split_into
        ]
        first: dict[str, str] = {}
        for event, data in made:
            split, other = split_into[data.name], first.setdefault(data.name, event.name)
            left = next((n for n, base in split_into.items() if base is split and not _is_named(function, n)), "")
            if other != event.name and left:
                message = (
                    f"gives `{data.name}` to `{event.name}` as to `{other}`, and `{left}` of the same split to none"
                )
                yield self.at(event.value or data, message)

    def _made_twice(self, script: Script) -> Iterator[Diagnostic]:
        """The data set for the tests is a library's training part, like the one for training; nothing parts it."""
        made = [(e, e.value) for f in script.functions for e in f.events if e.kind == "assign" and e.value is not None]
        training = [(event, value) for event, value in made if _train(value) is True]
        if any(_train(value) is False for _, value in made) or any(_parts(c) for c in script.calls):
            return
        for event, value in training:
            if TESTED.fullmatch(event.name.rpartition(".")[2]) and any(
                other.name == value.name and one.name != event.name for one, other in training
            ):
                yield self.at(value, f"loads the training part of `{value.method}` once more for `{event.name}`")

    def _left_at_default(self, script: Script) -> Iterator[Diagnostic]:
        """The data set for the tests is of a class of the file, and is not told that it is to be another part."""
        made = [(e.name, call) for f in script.functions for e in f.events if (call := _made(e)) is not None]
        for name, call in made:
            split = _default(script, call.name) if TESTED.fullmatch(_purpose(name)) else None
            alike = [other for _, other in made if other.name == call.name]
            if (
                split
                and not CHOSEN & set(script.called)
                and not any(other.unpacks or _told(script, other, split) for other in alike)
            ):
                first = next(
                    (o for one, o in made if parts.trains(one) and o.name == call.name and o is not call), None
                )
                chosen = first is not None and any(_is_changed(script, n) for n, c in made if c in (first, call))
                if first is not None and not chosen and _is_alike(script, first, call):
                    message = (
                        f'makes the data of `{name}` as that of training: `{split}` is left at its default, "train"'
                    )
                    yield self.at(call, message)


def _made(event: Event) -> Value | None:
    """The data set that a name is bound to, or a loader of it."""
    value = event.value if event.kind == "assign" else None
    if value is not None and value.kind == "call" and value.method == "DataLoader":
        value = value.argument(0, "dataset")
    return value if value is not None and value.kind == "call" else None


def _is_flag(value: Value | None) -> bool:
    return value is not None and isinstance(value.constant, bool)


def _is_changed(script: Script, name: str) -> bool:
    """Whether a data set is given other contents after it is made: `data.files = data.files[800:]`."""
    written = any(e.kind != "call" and e.name.startswith(f"{name}.") for f in script.functions for e in f.events)
    return written or any(call.method.startswith(SETS) and str(call.receiver) == name for call in script.calls)


def _purpose(name: str) -> str:
    """`test` of `self.test_loader`."""
    return re.sub(r"_?(loader|dl|dataloader|iter)$", "", name.rpartition(".")[2], flags=re.IGNORECASE)


def _default(script: Script, class_: str) -> str:
    """The parameter of a class's constructor that is "train" by default."""
    made = next((f for f in script.functions if f.name == f"{class_}.__init__"), None)
    found = (p.name for p in (made.parameters if made is not None else ()) if p.name in SPLITS)
    default = {p.name: p.default for p in made.parameters} if made is not None else {}
    return next((name for name in found if (d := default[name]) is not None and d.constant == "train"), "")


def _told(script: Script, call: Value, split: str) -> bool:
    made = next(f for f in script.functions if f.name == f"{call.name}.__init__")
    names = [parameter.name for parameter in made.parameters]
    return call.argument(names.index(split) - 1, split) is not None


def _is_alike(script: Script, one: Value, other: Value) -> bool:
    """Whether both are given the same, but for a number that is no seed."""
    made = next(f for f in script.functions if f.name == f"{one.name}.__init__")
    names = [parameter.name for parameter in made.parameters[1:]]
    sizes = len(one.arguments) == len(other.arguments) <= len(names)
    pairs = zip(names, one.arguments, other.arguments, strict=False)
    told = [dict(one.keywords), dict(other.keywords)]
    named = (name for name in {*told[0], *told[1]} if str(told[0].get(name)) != str(told[1].get(name)))
    tuned = all(COUNTED.search(name) or any(_is_flag(given.get(name)) for given in told) for name in named)
    return (
        sizes
        and tuned
        and all(
            str(a) == str(b) or (a.kind == b.kind == "constant" and COUNTED.search(name) is not None)
            for name, a, b in pairs
        )
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
        inner = (*value.arguments, *(v for _, v in value.keywords), *((value.base,) if value.base is not None else ()))
        yield from (found for part in inner for found in _unmeasured(part))


def _is_part(value: Value) -> bool:
    """One of the parts that a random split gives."""
    return value.kind == "item" and value.base is not None and value.base.method == "random_split"


def _is_named(function: Function, name: str) -> bool:
    return any(part.name == name or part.name.startswith(f"{name}.") for part in function.values)


def _parts(call: Value) -> bool:
    """Whether a call takes a part of a data set."""
    return call.method in PARTS or (
        call.method == "DataLoader" and any(call.argument(None, name) for name in parts.SOME)
    )


def _train(value: Value) -> bool | None:
    """Which part of a data set of torchvision is loaded, if it is one and that is written."""
    given = (
        value.argument(None, "train")
        if value.kind == "call" and value.name.startswith("torchvision.datasets.")
        else None
    )
    return given.constant if given is not None and isinstance(given.constant, bool) else None
