"""ML408."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import parts, tensors
from modellint.source.code import Event, Function, Value

SPLIT = pattern(r"train(ing)?|(?<![a-z])tr(?![a-z])|test(ing)?|val(id(ation)?)?|eval|dev", re.IGNORECASE)
TARGETS = pattern(
    r"(y|t|labels?|targets?|idx|ind(ices|exes)?|ids?|\w*(loss|acc|size|len|num|time)\w*)(_.*)?|.*_(y|labels?|targets?)",
    re.IGNORECASE,
)
# What takes the data as it is.
TAKES = frozenset(
    "tensor as_tensor from_numpy FloatTensor Tensor DoubleTensor TensorDataset DataLoader len print array asarray float "
    "astype to cuda cpu numpy size reshape view values to_numpy unsqueeze".split()
)
TAKEN = tuple(  # into a tensor
    (name, pattern(rb"%s(?<!is_tensor)\(\w*(?:[tT]est|[vV]al(?!ue)|[dD]ev(?!ice))" % name.encode()))
    for name in ("from_numpy", "tensor", "Tensor", "TensorDataset")
)
FITTED = pattern(rb"rain\w* *(?:= *\(?\w*rain\w*\W|[-/]= )")


class TestDataNotScaled(SourceRule):
    """The training data is scaled, and the test data goes to the model as it is.

    Why: the model is asked about numbers of another size than all that it has seen: the score is far too low, and no sign of
        overfitting.
    Fix: give the test data the same: `x_test = scaler.transform(x_test)`, or divide by the same numbers.
    Ignore: when the test data was scaled before.
    Reported: https://github.com/nttcslab/byol-a/issues/5, https://github.com/cavalab/srbench/pull/19,
        https://github.com/mlpack/examples/pull/213
    """

    code, severity, certain, topic = "ML408", Severity.WARNING, True, "data"
    words = tuple(
        (*fits, part, *taken)
        for fits in (("fit_transform(",), ("train", FITTED))
        for part in ("test", "val")
        for taken in TAKEN
    )
    bad = (
        """
        import torch
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import StandardScaler

        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2)
        scaler = StandardScaler()
        X_train = scaler.fit_transform(X_train)
        X_train = torch.tensor(X_train, dtype=torch.float32)
        X_test = torch.tensor(X_test, dtype=torch.float32)
        """,
        """
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        def loaders(x_train, y_train, x_test, y_test):
            mean, std = x_train.mean(0), x_train.std(0)
            x_train = (x_train - mean) / std
            train = TensorDataset(torch.from_numpy(x_train), torch.from_numpy(y_train))
            test = TensorDataset(torch.from_numpy(x_test), torch.from_numpy(y_test))
            return DataLoader(train, shuffle=True), DataLoader(test)
        """,
        """
        import torch

        train_images = load("train.npz")
        val_images = load("val.npz")
        train_images = train_images / 255.0
        train_images = torch.tensor(train_images).float()
        val_images = torch.tensor(val_images).float()
        """,
    )
    good = (
        """
        import torch
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        X_train = scaler.fit_transform(X_train)
        X_test = torch.tensor(scaler.transform(X_test))
        y_train = y_train / 100
        y_test = torch.tensor(y_test)
        """,
        """
        import torch

        x_train, x_test = load()
        x_train = x_train / 255.0
        x_test = prepare(x_test)
        x_train, x_val = train_test_split(x_train)
        val = torch.tensor(x_val)
        z_train, z_test = load()
        z_train = z_train / 255.0
        z_test /= 255.0
        test = torch.from_numpy(z_test), torch.from_numpy(x_test)
        """,
        """
        import torch

        x_train, x_test = load(), load_scaled()
        x_train = torch.tensor(x_train / 255.0)
        given = torch.tensor(x_test)
        u_train, u_test = load()
        u_train = torch.tensor(u_train / 255.0)
        for name, part in {"test": u_test}.items():
            save(name, part / 255.0)
        """,
        """
        import torch

        n_train, n_test = len(a), len(b)
        n_train = n_train / 2
        batches = torch.tensor(n_test)
        train_size, test_size = 10, 20
        train_size = train_size - 5
        print(torch.tensor(test_size))
        """,
        """
        import torch

        x_train, x_test = load()
        x_train = (x_train - x_train.mean(0)) / x_train.std(0)
        x_train = torch.from_numpy(x_train)
        net = torch.nn.Sequential(Scale(x_train), torch.nn.Linear(3, 1))
        raw = show(x_test)
        test = torch.from_numpy(x_test)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            told = set[str]()
            for at, event in enumerate(function.events):
                left = self._left(script, function, event, at) if event.name not in told else None
                if left is not None:
                    told.add(event.name)
                    yield self.at(event, f"scales `{event.name}`, and `{left}` goes to the model as it is")

    def _left(self, script: Script, function: Function, event: Event, at: int) -> str | None:
        """The part of the evaluation that is not scaled, where an event scales that of the training."""
        name = event.name
        if not _scales(event) or not parts.trains(name) or TARGETS.fullmatch(SPLIT.sub("", name).strip("_")):
            return None
        left = (other for other in _others(function, name, at) if _goes_as_it_is(script, other))
        return next(left, None) if any(_makes_tensor(use) for use in _all_uses(script, name)) else None


def _others(function: Function, name: str, at: int) -> Iterator[str]:
    """The names of the other parts of the same data: they come from where it comes from, and not from it later."""
    bound = {event.name for event in function.events[:at] if event.kind == "assign"}
    bound |= {parameter.name for parameter in function.parameters}
    for other in sorted(filter(parts.evaluates, bound)):
        alike = SPLIT.sub("", other) == SPLIT.sub("", name)
        if alike and _maker(function, other) == _maker(function, name):
            yield other


def _maker(function: Function, name: str) -> str:
    """What gives a name its first value."""
    first = next(iter(tensors.bounds(function, name)), None)
    if first is None or any(parameter.name == name for parameter in function.parameters):
        return ""
    made = first.base if first.kind == "item" and first.base is not None else first
    return made.name or str(made)


def _scales(event: Event) -> bool:
    """`x = (x - mean) / std`, `x /= 255`, `x = scaler.fit_transform(x)`."""
    value = event.value
    if value is None or event.kind not in ("assign", "augment"):
        return False
    if value.kind == "call" and value.method == "fit_transform":
        return bool(value.arguments) and value.arguments[0].name == event.name
    while value.kind == "operation" and value.name in ("/", "-") and value.arguments:
        if value.name == "/" and value.arguments[0].name == event.name:
            return True
        value = value.arguments[0]
        if value.name == event.name:
            return True
    return False


def _goes_as_it_is(script: Script, name: str) -> bool:
    """Whether data is given to nothing but what makes tensors and loaders of it, and to one of these."""
    found = list(_all_uses(script, name))
    return any(map(_makes_tensor, found)) and all(use.kind == "call" and use.method in TAKES for use in found)


def _makes_tensor(use: Value) -> bool:
    return use.method in ("tensor", "from_numpy", "as_tensor", "FloatTensor", "Tensor", "TensorDataset")


def _all_uses(script: Script, name: str) -> Iterator[Value]:
    for function in script.functions:
        for value in (*(e.value for e in function.events), *(block.value for block in function.blocks)):
            yield from _uses(value, name) if value is not None else ()


def _uses(value: Value, name: str) -> Iterator[Value]:
    """What is done with a name: the call that is given it, or whatever else holds it."""
    inner = (
        *value.arguments,
        *(item for _, item in value.keywords),
        *((value.base,) if value.base is not None else ()),
    )
    if value.kind == "call" and str(value.receiver) == name:
        yield value
    for part in inner:
        if part.kind == "name" and (part.name == name or part.name.startswith(f"{name}.")):
            yield value
        yield from _uses(part, name)
