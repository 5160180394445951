"""ML130."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import moments, parts, splitting
from modellint.source.code import Event, Function, Value
from modellint.source.facts import Loader

JOINS = frozenset({"cat", "concat", "concatenate", "vstack", "hstack", "append"})
FITS = (("assign", "fit_transform"), ("call", "fit"))  # by what they are written in
FITTED = frozenset(
    "StandardScaler MinMaxScaler RobustScaler MaxAbsScaler PowerTransformer QuantileTransformer PCA TruncatedSVD "
    "SelectKBest SimpleImputer KNNImputer IterativeImputer KBinsDiscretizer".split()
)
TEST = pattern(r"(?:^|_)(?:test|testing)(?:_|$|\d)|^(?:test|X_?test)|(?<=[a-z])Test")
TRAIN = pattern(r"(?:^|_)(?:train|training)|^(?:train|X_?train)|(?<=[a-z])Train")
STATISTICS = ("fit", "fit_transform", "fit_resample", "mean", "std")
OVERSAMPLERS = frozenset("SMOTE SMOTENC SMOTEN BorderlineSMOTE SVMSMOTE KMeansSMOTE ADASYN RandomOverSampler".split())
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
        ("fit_transform", "torch"), ("fit_resample(", "torch"), (".extend(test", "train"), ("DataLoader(", "train", "+", "test"),
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
        """
        import torch
        from imblearn.over_sampling import SMOTE
        from sklearn.model_selection import train_test_split

        X, y = SMOTE().fit_resample(X, y)
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2)
        """,
        """
        import torch
        from sklearn.preprocessing import MinMaxScaler

        scaled = MinMaxScaler().fit_transform(prices)
        train, test = scaled[:cut], scaled[cut:]
        """,
        """
        import torch
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        X_test = scaler.fit_transform(X_test)
        X_train = scaler.transform(X_train)
        """,
        """
        import torch
        from sklearn.model_selection import KFold
        from sklearn.preprocessing import StandardScaler

        for train_rows, val_rows in KFold(5).split(X, y):
            scaler = StandardScaler().fit(X)
            fit(scaler.transform(X[train_rows]), scaler.transform(X[val_rows]))
        """,
        """
        import torch

        def load(path):
            raw = np.load(path)
            mean, std = raw.mean(0), raw.std(0)
            scaled = (raw - mean) / (std + 1e-8)
            return scaled[:800], scaled[800:]

        train, test = load("series.npy")
        """,
        """
        import torch

        x_train, x_test = signals[train_rows], signals[test_rows]
        mean = signals.mean(axis=(0, 2), keepdims=True)
        std = signals.std(axis=(0, 2), keepdims=True)
        x_train, x_test = (x_train - mean) / std, (x_test - mean) / std
        """,
        """
        import torch

        x_train = (x_train - x_train.mean(0)) / x_train.std(0)
        x_test = (x_test - x_test.mean(0)) / x_test.std(0)
        """,
        """
        import torch
        from sklearn.preprocessing import LabelEncoder

        users = LabelEncoder()
        for part in (train, test):
            part["user"] = users.fit_transform(part["user_id"])
        """,
    )
    suspected = """
        import torch
        from sklearn.preprocessing import StandardScaler
        from sklearn.model_selection import train_test_split

        X, y = read("training.csv")
        X = StandardScaler().fit_transform(X)
        X_a, X_b, y_a, y_b = train_test_split(X, y)  # two clients of a federation
        """
    good = (
        """
        import torch
        from imblearn.over_sampling import SMOTE
        from sklearn.model_selection import train_test_split

        X, X_test, y, y_test = train_test_split(X, y, test_size=0.2)
        X, y = SMOTE().fit_resample(X, y)
        fit_final(StandardScaler().fit_transform(X), y)
        X, y = load(2020)
        X, X_test, y, y_test = train_test_split(X, y)
        mean, std = X.mean(0), X.std(0)
        X, X_test = (X - mean) / std, (X_test - mean) / std
        """,
        """
        import torch
        from imblearn.over_sampling import RandomOverSampler
        from sklearn.model_selection import train_test_split

        def prepare(X, y, final):
            if final:
                X, y = RandomOverSampler().fit_resample(X, y)
                return X, y
            X_train, X_test, y_train, y_test = train_test_split(X, y)
            return X_train, X_test, y_train, y_test
        """,
        """
        import torch
        from sklearn.preprocessing import LabelEncoder, MinMaxScaler

        x_train = (x_train - x_train.mean(-1, keepdims=True)) / x_train.std(-1, keepdims=True)  # each series by itself
        x_test = (x_test - x_test.mean(-1, keepdims=True)) / x_test.std(-1, keepdims=True)
        scaler = MinMaxScaler().fit(prices[:cut])
        scaled = scaler.transform(prices)
        train, test = scaled[:cut], scaled[cut:]
        for part in (train_frame, test_frame):
            part["user"] = LabelEncoder().fit_transform(part["user"])
            show(part["price"].mean(), part["price"].std())
        """,
        """
        import torch

        raw = np.load("series.npy")
        mean, std = raw.mean(0), raw.std(0)
        print(f"{mean} {std}")
        train, test = raw[:800], raw[800:]
        first = raw[0] - mean
        """,
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
                yield from self._oversampled(script, function)
                yield from self._taken_of_all(function)
                yield from self._taken_of_each(function)
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
        for call in fits:
            given, owner = _last(call.arguments[0]), str(call.receiver)
            held_out = parts.evaluates(given) and not TEST.search(given)
            if held_out and owner in trained and call.method == "fit_transform":
                message = f"fits `{owner}` anew on `{given}`: it was fitted on the training data"
                yield self.at(call, message, certain=False)
            elif (
                parts.evaluates(given)
                and owner not in trained
                and call.base is None
                and _serves_training(function, call)
            ):
                message = f"fits `{owner}` on `{given}`, and scales the training data with it"
                yield self.at(call, message, certain=False)
        yield from self._fitted_on_each(function)

    def _fitted_on_each(self, function: Function) -> Iterator[Diagnostic]:
        """One encoder, made before a loop that fits it on the training part and then on the test part."""
        for index, block in enumerate(function.blocks):
            over = block.value.arguments if block.kind == "for" and block.value is not None else ()
            names = [part.name for part in over if part.kind == "name"]
            if len(names) < 2 or not any(map(parts.trains, names)) or not any(map(parts.evaluates, names)):
                continue
            inside = [event for _, event in function.inside(index)]
            item = next((e.name for e in inside if e.value is not None and e.value.kind == "element"), "")
            made = {event.name for event in inside if event.kind == "assign"}
            for call in (e.value for e in inside if e.kind == "call" and e.value is not None):
                given = _last(call.arguments[0]) if call.method == "fit_transform" and call.arguments else ""
                if given and given == item and call.base is None and str(call.receiver) not in made:
                    yield self.at(call, f"fits `{call.receiver}` anew on each of {', '.join(names)}", certain=False)

    def _oversampled(self, script: Script, function: Function) -> Iterator[Diagnostic]:
        for event in function.events:
            item = event.value if event.kind == "assign" else None
            call = item.base if item is not None and item.kind == "item" else item
            grown = call is not None and call.method == "fit_resample" and _kind(call, function, script) in OVERSAMPLERS
            split = splitting.drawn(function, event, {event.name}) if grown else None
            if call is not None and split is not None:
                made = "copies of its samples, or what is made between two of them, are in both parts"
                sure = not TRAIN.search(event.name) and splitting.holds_out(function, split)
                yield self.at(call, f"adds to `{event.name}` before it is split: {made}", certain=sure)
                return

    def _taken_of_all(self, function: Function) -> Iterator[Diagnostic]:
        """Mean and deviation of all the data, by which its parts are scaled."""
        for whole, taken in moments.taken(function).items():
            if (
                len(taken) == 2
                and not TRAIN.search(whole)
                and not TEST.search(whole)
                and moments.scale(function, taken)
            ):
                at, event = taken["mean"]
                derived = moments.derived(function, taken, whole)
                drawn = any(splitting.draws(function, call, whole, at) for call in function.calls)
                parted = drawn or splitting.is_parted(function, {whole, *derived})
                if event.value is not None and whole not in derived and parted:
                    message = f"takes mean and deviation of all of `{whole}`, of which one part is for the evaluation"
                    yield self.at(event.value, message, certain=False)  # it may be scaled to be looked at

    def _taken_of_each(self, function: Function) -> Iterator[Diagnostic]:
        """An evaluation that is scaled by its own mean and deviation, as the training is by its own."""
        scaled = [
            e for e in function.events if e.kind == "assign" and e.value is not None and moments.by_itself(function, e)
        ]
        trained = any(map(parts.trains, (*(event.name for event in scaled), *moments.taken(function))))
        for event in scaled if trained else ():
            if parts.evaluates(event.name):
                message = f"scales `{event.name}` by its own mean and deviation, not by those of the training data"
                yield self.at(event, message, certain=False)

    def _fitted_before_split(self, script: Script, function: Function) -> Iterator[Diagnostic]:
        for event in function.events:
            call = event.value
            if call is None:
                continue
            if call.arguments and (event.kind, call.method) in FITS:
                kind = _kind(call, function, script)
                known = kind in FITTED and not TRAIN.search(_last(call.arguments[0]))
                held = _holding(function, event, call) if known else set()
                drawn = splitting.drawn(function, event, held) if known else None
                cut = known and (
                    splitting.is_parted(function, held) or splitting.is_folded(function, call.arguments[0].name)
                )
                if drawn or (cut and not parts.evaluates(_last(call.arguments[0]))):
                    message = f"fits a `{kind}` on all the data before it is split: it has seen the test part"
                    sure = drawn is not None and splitting.holds_out(function, drawn)
                    yield self.at(call, message, certain=sure)
            elif event.kind == "assign" and moments.standardised(function, call):
                split = splitting.drawn(function, event, {event.name})
                if split or splitting.is_cut(function, event):
                    message = f"takes mean and deviation of all of `{event.name}` before it is split"
                    sure = split is not None and splitting.holds_out(function, split)
                    yield self.at(call, message, certain=sure)

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


def _transforms(event: Event, fit: Value, whole: Value) -> bool:
    """Whether a name is bound to all the data as the fitted object transforms it."""
    value = event.value if event.kind == "assign" else None
    made = value is not None and value.method == "transform" and str(value.receiver) == str(fit.receiver)
    return made and value is not None and bool(value.arguments) and value.arguments[0].name == whole.name


def _serves_training(function: Function, fit: Value) -> bool:
    """Whether what is fitted transforms the training data later."""
    uses = (
        c for c in function.calls if c.method == "transform" and str(c.receiver) == str(fit.receiver) and c.arguments
    )
    return any(
        parts.trains(_last(use.arguments[0])) and (use.location.line or 0) > (fit.location.line or 0) for use in uses
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
