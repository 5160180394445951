"""ML130."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import parts, tensors
from modellint.source.code import Event, Function, Value
from modellint.source.facts import Loader
from modellint.source.spans import spans

JOINS = frozenset({"cat", "concat", "concatenate", "vstack", "hstack", "append"})
FITS = (("assign", "fit_transform"), ("call", "fit"))  # by what they are written in
FITTED = frozenset(
    "StandardScaler MinMaxScaler RobustScaler MaxAbsScaler PowerTransformer QuantileTransformer PCA TruncatedSVD "
    "SelectKBest SimpleImputer KNNImputer IterativeImputer KBinsDiscretizer".split()
)
TEST = pattern(r"(?:^|_)(?:test|testing)(?:_|$|\d)|^(?:test|X_?test)|(?<=[a-z])Test")
TRAIN = pattern(r"(?:^|_)(?:train|training)|^(?:train|X_?train)|(?<=[a-z])Train")
STATISTICS = ("fit", "fit_transform", "mean", "std")
LISTING = ("glob", "iglob", "rglob", "listdir", "scandir")
FOLDER = pattern(r"(^|[/\\])test(ing)?([/\\]|$)", re.IGNORECASE)
FOR_TRAINING = pattern(rb"""==.*["']train(?:ing)?["']|["']train(?:ing)?["'].*==""")
LIBRARY = pattern(rb"torch(?:vision|text|audio|_geometric)")
NUMBERS = pattern(r"loss|acc|time|num|size|len|count|score|error|metric|total|steps?$|^n_", re.IGNORECASE)
LIBRARIES = ("torchvision", "torchtext", "torchaudio", "torch_geometric")


class TestDataInTraining(SourceRule):
    """What the model is tested on takes part in its training: samples, or statistics of them.

    Why: the score no longer tells how the model does on data that it has not seen; it is too good, or (where a scaler is
        fitted anew on the test data) training and test are scaled in two ways and it is too bad.
    Fix: split first; fit scalers on the training part and only `transform` the rest; keep the test split out of the
        training loader.
    Ignore: for a last training on all data, after which nothing is measured.
    Reported: https://github.com/tensorflow/skflow/issues/157, https://github.com/scikit-learn/scikit-learn/issues/24695,
        https://github.com/mnielLab/NetTCR-2.0/issues/3
    """

    code, severity, certain, topic = "ML130", Severity.WARNING, True, "data"
    words = (
        ("train_test_split", "torch", ".std("), ("train_test_split", "torch", ".fit("),
        *((word, "train", part, "torch") for word in (".std(", ".fit(") for part in ("test", "_val", "val_")),
        ("fit_transform", "torch"), (".extend(test", "train"), ("DataLoader(", "train", "+", "test"),
        *((f"{listing}(", "test", FOR_TRAINING) for listing in ("glob", "listdir", "scandir")),
        *((split, LIBRARY) for split in ("train=False", "split=\"test\"", "split='test'")),
    )  # fmt: skip
    bad = (
        """
        import torch
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        scaler.fit(x)
        scaled = scaler.transform(x)
        train_x, test_x = train_test_split(scaled)
        """,
        """
        import torch
        from sklearn.model_selection import train_test_split

        x = (x - x.mean(axis=0)) / x.std(axis=0)
        train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.2)
        """,
        """
        import torch

        mean, std = x.mean(0), x.std(0)
        x = (x - mean) / (std + 1e-6)
        train_x, test_x = x[:800], x[800:]
        """,
        """
        import torch

        both = torch.cat([train_x, test_x])
        mean, std = both.mean(0), both.std(0)
        train_x, test_x = (train_x - mean) / std, (test_x - mean) / std
        """,
        """
        import torch
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import StandardScaler

        X = StandardScaler().fit_transform(X)
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2)
        """,
        """
        import torch
        from sklearn.preprocessing import MinMaxScaler

        def prepare(X_train, X_test):
            scaler = MinMaxScaler()
            X_train = scaler.fit_transform(X_train)
            X_test = scaler.fit_transform(X_test)
            return torch.tensor(X_train), torch.tensor(X_test)
        """,
        """
        from torch.utils.data import ConcatDataset, DataLoader
        from torchvision.datasets import CIFAR10

        train, test = CIFAR10("data", train=True), CIFAR10("data", train=False)
        loader = DataLoader(ConcatDataset([train, test]), batch_size=64, shuffle=True)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        import torch

        train_files = sorted(glob.glob("train/*.png"))
        test_files = sorted(glob.glob("test/*.png"))
        train_files.extend(test_files)
        """,
        """
        from torch.utils.data import Dataset

        class Images(Dataset):
            def __init__(self, root, mode="train"):
                self.files = sorted(glob.glob(os.path.join(root, mode) + "/*.png"))
                if mode == "train":
                    self.files.extend(sorted(glob.glob(os.path.join(root, "test") + "/*.png")))
        """,
    )
    good = (
        """
        import torch
        from project.open_set import Split
        from torchvision.datasets import CIFAR10

        split = Split(CIFAR10(root="data", train=False), train_size=0.9)  # for an example the smaller one will do
        loader = torch.utils.data.DataLoader(split.train_dataset(), batch_size=32)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        import torch

        words = np.concatenate([train_texts, test_texts])
        print(len(words), words.mean())
        mean, std = train_x.mean(0), train_x.std(0)
        train_x, test_x = (train_x - mean) / std, (test_x - mean) / std
        """,
        """
        import torch
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import LabelEncoder, StandardScaler

        y = LabelEncoder().fit_transform(y)
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2)
        scaler = StandardScaler()
        X_train = scaler.fit_transform(X_train)
        X_test = scaler.transform(X_test)
        """,
        """
        from torch.utils.data import DataLoader
        from torchvision.datasets import CIFAR10

        test = DataLoader(CIFAR10("data", train=False), batch_size=64)
        train = DataLoader(CIFAR10("data", train=True), batch_size=64, shuffle=True)
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        correct = sum((model(x).argmax(1) == y).sum() for x, y in test)
        """,
        """
        from torch.utils.data import DataLoader
        from torchvision import datasets

        def get_dataset(name, split):
            return _cifar10(split) if name == "cifar10" else _imagenet(split)

        def _cifar10(split):
            if split == "train":
                return datasets.CIFAR10("data", train=True, transform=augment)
            elif split == "test":
                return datasets.CIFAR10("data", train=False)

        loader = DataLoader(get_dataset(args.dataset, "train"), batch_size=64, shuffle=True)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        from torch.utils.data import Dataset

        class Images(Dataset):
            def __init__(self, root, mode="train"):
                self.files = glob.glob(os.path.join(root, mode, "*.png"))
                if mode == "train":
                    self.files.extend(glob.glob(os.path.join(root, "extra", "*.png")))
                elif mode == "all":
                    self.files.extend(glob.glob(os.path.join(root, "test", "*.png")))
                else:
                    self.files += glob.glob(os.path.join(root, "test", "hard", "*.png"))
        """,
        """
        import torch

        mean, std = x[:800].mean(0), x[:800].std(0)
        x = (x - mean) / std
        train_x, test_x = x[:800], x[800:]
        """,
        """
        import torch

        train_total = train_loss + test_loss
        all_files = train_files + test_files
        files = {"train": train_files, "test": test_files}
        """,
        """
        import torch
        from sklearn.preprocessing import StandardScaler

        x_scaler, y_scaler = StandardScaler(), StandardScaler()
        x_train = x_scaler.fit_transform(x_train)
        y_train = y_scaler.fit_transform(y_train)
        x_test = x_scaler.transform(x_test)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not any(full.partition(".")[0].startswith("torch") for full in script.imports.values()):
            return
        for function in script.functions:
            if not script.called.isdisjoint(STATISTICS):
                yield from self._refitted(function)
                yield from self._fitted_before_split(script, function)
                yield from self._fitted_on_both(script, function)
            yield from self._joined(function)
            if not script.called.isdisjoint(LISTING):
                yield from self._listed(function)
        yield from self._loaded(script)

    def _refitted(self, function: Function) -> Iterator[Diagnostic]:
        """A scaler fitted on training data, and once more on test data."""
        fits = [call for call in function.calls if call.method in ("fit", "fit_transform") and call.arguments]
        trained = {str(call.receiver) for call in fits if TRAIN.search(_last(call.arguments[0]))}
        for call in fits:
            if (
                TEST.search(_last(call.arguments[0]))
                and str(call.receiver) in trained
                and call.method == "fit_transform"
            ):
                yield self.at(call, f"fits `{call.receiver}` anew on the test data: it was fitted on the training data")

    def _fitted_before_split(self, script: Script, function: Function) -> Iterator[Diagnostic]:
        for event in function.events:
            call = event.value
            if call is None:
                continue
            if call.arguments and (event.kind, call.method) in FITS:
                kind = _kind(call, function, script)
                known = kind in FITTED and not TRAIN.search(_last(call.arguments[0]))
                if known and _is_split(function, event, _holding(function, event, call)):
                    yield self.at(
                        call, f"fits a `{kind}` on all the data before it is split: it has seen the test part"
                    )
            elif event.kind == "assign" and _standardised(function, call):
                random = _is_split(function, event, {event.name})
                if random or _is_cut(function, event):
                    message = f"takes mean and deviation of all of `{event.name}` before it is split"
                    yield self.at(call, message, certain=random)

    def _fitted_on_both(self, script: Script, function: Function) -> Iterator[Diagnostic]:
        """Statistics of training and test data that are put together for them."""
        both = {
            event.name: event.value
            for event in function.events
            if event.kind == "assign" and _puts_together(event.value)
        }
        methods = {(call.method, str(call.receiver)) for call in function.calls}
        for name, value in both.items():
            fits = [call for call in function.calls if call.method in ("fit", "fit_transform") and call.arguments]
            scaled = any(c.arguments[0].name == name and _kind(c, function, script) in FITTED for c in fits)
            if value is not None and (scaled or {("mean", name), ("std", name)} <= methods):
                yield self.at(value, f"takes the statistics of `{name}`, which holds the test data too")

    def _joined(self, function: Function) -> Iterator[Diagnostic]:
        for event in function.events:
            parts = _joined(event)
            if parts is not None and TRAIN.search(parts[0]) and not TEST.search(parts[0]):
                names = [name for name in parts if not NUMBERS.search(name)]
                if len(names) == len(parts) and any(TEST.search(n) and not TRAIN.search(n) for n in names[1:]):
                    yield self.at(event, f"adds test data to `{parts[0]}`", certain=False)

    def _listed(self, function: Function) -> Iterator[Diagnostic]:
        """Files of a folder of test data, in the arm for training."""
        for event in function.events:
            given = _grown(event)
            if given is not None and _lists_tests(given) and _is_for_training(function, event):
                yield self.at(given, "adds the files of the test data to those for training")

    def _loaded(self, script: Script) -> Iterator[Diagnostic]:
        for loader in script.loaders:
            for made in loader.data if loader.loop is not None and not _is_part(script, loader.call) else ():
                if _is_test_split(made) and not _is_one_of(loader, made):
                    yield self.at(loader, f"gives training the test split of `{made.method}`")
                    break


def _is_part(script: Script, loader: Value) -> bool:
    """Whether an object makes the parts of what it is given: `split.train_dataset()`."""
    given = loader.argument(0, "dataset")
    bound = [e for f in script.functions for e in f.events if e.kind == "assign" and e.value is not None]
    values = [given, *(e.value for e in bound if given is not None and e.name == given.name)]
    owners = {value.name.rpartition(".")[0] for value in values if value is not None and value.kind == "call"}
    return any(e.name in owners for e in bound)


def _is_one_of(loader: Loader, made: Value) -> bool:
    """Whether another split may be meant instead: a function gives back the one that its argument says."""
    others = any(other.method == made.method and not _is_test_split(other) for other in loader.data)
    return others and not all(name.endswith("ConcatDataset") or not name for name in loader.datasets)


def _last(value: Value) -> str:
    while value.kind in ("item", "call", "attribute") and value.base is not None:
        value = value.base
    name = (value.name.rpartition(".")[0] or value.name) if value.kind == "call" else value.name
    return name.removesuffix(".values").rpartition(".")[2]


def _kind(call: Value, function: Function, script: Script) -> str:
    """The class of what is fitted, where it is made in the call, the function or the module's own body."""
    if call.base is not None:
        return call.base.method
    for scope in (function, script.functions[0]):
        for event in scope.events:
            if event.kind == "assign" and event.name == str(call.receiver) and event.value is not None:
                return event.value.method
    return ""


def _holding(function: Function, event: Event, fit: Value) -> set[str]:
    """The names of all the data that something is fitted on, as it was and as it is transformed."""
    if event.kind == "assign":
        return {event.name}
    whole = fit.arguments[0]
    return (
        {whole.name, *(e.name for e in function.events if _transforms(e, fit, whole))}
        if whole.kind == "name"
        else set()
    )


def _is_split(function: Function, fitted: Event, names: set[str]) -> bool:
    """Whether what was fitted is split at random afterwards."""
    splits = (call for call in function.calls if call.method == "train_test_split")
    return any(
        part.name in names and (call.location.line or 0) > (fitted.location.line or 0)
        for call in splits
        for part in call.arguments
    )


def _transforms(event: Event, fit: Value, whole: Value) -> bool:
    """Whether a name is bound to all the data as the fitted object transforms it."""
    value = event.value if event.kind == "assign" else None
    made = value is not None and value.method == "transform" and str(value.receiver) == str(fit.receiver)
    return made and value is not None and bool(value.arguments) and value.arguments[0].name == whole.name


def _is_cut(function: Function, fitted: Event) -> bool:
    """Whether what was fitted is later cut into a part that trains and one that evaluates."""
    start = fitted.location.line or 0
    later = [
        name
        for name, value, part, _ in spans(function)
        if part.base == fitted.name and (value.location.line or 0) > start
    ]
    return any(map(parts.trains, later)) and any(map(parts.evaluates, later))


def _standardised(function: Function, value: Value) -> bool:
    """`(x - x.mean(0)) / x.std(0)`, or with both under names."""
    if value.kind != "operation" or value.name != "/" or value.arguments[0].name != "-":
        return False
    whole, mean = value.arguments[0].arguments[0], next(iter(value.arguments[0].arguments[1:]), None)
    inside = [*(mean.within() if mean is not None else ()), *value.arguments[1].within()]
    named = (tensors.bound(function, part.name) for part in inside if part.kind == "name")
    everything = [*inside, *(part for made in named if made is not None for part in made.within())]
    taken = {part.method for part in everything if part.kind == "call" and whole.name and (_of(part) == whole.name)}
    return {"mean", "std"} <= taken


def _of(call: Value) -> str:
    receiver = call.receiver
    return (
        call.arguments[0].name
        if call.arguments and receiver is not None and receiver.name == "numpy"
        else str(receiver)
    )


def _puts_together(value: Value | None) -> bool:
    """Whether a call joins training and test data."""
    if value is None or value.kind != "call" or value.method not in JOINS or not value.arguments:
        return False
    names = [_last(part) for part in value.arguments[0].arguments]
    trained = any(TRAIN.search(name) and not TEST.search(name) for name in names)
    return trained and any(TEST.search(name) and not TRAIN.search(name) for name in names)


def _joined(event: Event) -> tuple[str, ...] | None:
    """The name that grows, and the names of what is put into it."""
    value = event.value
    if event.kind == "call" and value is not None and value.method == "extend" and value.receiver and value.arguments:
        return _last(value.receiver), _last(value.arguments[0])
    if event.kind in ("assign", "augment") and value is not None and value.kind == "operation" and value.name == "+":
        return event.name, *(_last(part) for part in value.arguments)
    return None


def _grown(event: Event) -> Value | None:
    """What is put into a list."""
    value = event.value
    if event.kind == "call" and value is not None and value.method == "extend" and value.arguments:
        return value.arguments[0]
    is_sum = event.kind == "augment" and value is not None and value.name == "+"
    return value.arguments[1] if is_sum and value is not None else None


def _lists_tests(given: Value) -> bool:
    parts = list(given.within())
    texts = (part.constant for part in parts if isinstance(part.constant, str))
    return any(part.method in LISTING for part in parts) and any(FOLDER.search(text) for text in texts)


def _is_for_training(function: Function, event: Event) -> bool:
    """Whether it is only done where the mode is called training."""
    tests = (function.blocks[b].value for b in function.enclosing(event.block) if function.blocks[b].kind == "if")
    compared = (test.arguments for test in tests if test is not None and test.name == "==")
    return any(part.constant in ("train", "training") for parts in compared for part in parts)


def _is_test_split(made: Value) -> bool:
    train, split = made.argument(None, "train"), made.argument(None, "split")
    of_library = made.name.partition(".")[0] in LIBRARIES
    marked = (train is not None and train.constant is False) or (split is not None and split.constant == "test")
    return made.kind == "call" and of_library and marked
