"""ML189."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.core.record import dataclass
from modellint.source.code import Event, Function, Value
from modellint.source.tensors import bound
from modellint.source.views import View, Views, kept

# What changes the numbers once more each time.
REPEATED = frozenset(
    "add_ sub_ mul_ div_ pow_ sqrt_ log_ log1p_ log10_ exp_ neg_ addcmul_ addcdiv_ lerp_ logit_".split()
)
ONCE = frozenset("clamp_ clip_ relu_ abs_ masked_fill_ fill_ zero_ nan_to_num_ round_ normal_ uniform_ copy_".split())
OPERATORS = ("-", "*", "/", "+", "**", "//")
OWN = frozenset({"mean", "std", "max", "min", "sum", "norm", "median", "var", "amax", "amin", "ptp"})
# The second time, what such a call gives is what it is given.
CONVERTS = frozenset(
    "to float double half long int type cuda cpu tensor array asarray as_tensor astype copy clone".split()
)
TRANSFORMS = pattern(r"transform|aug|normali[sz]e|noise|jitter|crop|flip|rotat|mask|scale", re.IGNORECASE)
CERTAIN = ("tensor", "array", "list")
COUNTS = pattern(r"count|seen|visit|usage|used|weight|score|prior|loss|hits|cache|memo", re.IGNORECASE)
CHANGED = pattern(
    rb"[\w\])] *(?:[-*/]|//|\*\*)= |\w\[[^\n=]*\] *\+?= |\b\w+ \+= (?!1\b|len)|\.[a-z]\w*[a-z0-9]_\(|inplace=True"
)


class DatasetChangedInPlace(SourceRule):
    """A data set changes in place what it stores, each time that an item is taken.

    Why: `self.images[i]` is a view of the stored array or tensor. What is subtracted from it, scaled or added in place stays:
        the next epoch begins with what the last one left, so that the images grow darker, noisier, or vanish. With worker
        processes the changes are lost after each epoch, and the result depends on `num_workers`.
    Fix: copy first (`x = self.images[i].clone()`, `.copy()`), or compute a new value: `x = x / 255`.
    Ignore: when what is stored is meant to change.
    Reported: https://github.com/facebookresearch/pycls/pull/21, https://github.com/pytorch/vision/issues/680,
        https://github.com/mindee/doctr/issues/840
    """

    code, severity, certain, topic = "ML189", Severity.WARNING, True, "data"
    words = (("Dataset", "def __getitem__(", CHANGED),)
    bad = (
        """
        import numpy as np
        from torch.utils.data import Dataset

        class Digits(Dataset):
            def __init__(self, path):
                self.images = np.load(path).astype(np.float32)

            def __getitem__(self, i):
                x = self.images[i]
                x -= self.mean
                x /= 255
                return torch.from_numpy(x), self.labels[i]
        """,
        """
        import torch
        from torch.utils.data import Dataset

        class Waves(Dataset):
            def __init__(self, x, y):
                self.x, self.y = torch.tensor(x), torch.tensor(y)

            def __getitem__(self, index):
                wave, label = self.x[index], self.y[index]
                wave = wave.unsqueeze(0)
                wave.add_(0.1 * torch.randn_like(wave))
                return wave, label
        """,
        """
        import torch
        from torch.utils.data import Dataset

        class Photos(Dataset):
            def __init__(self, files, transform):
                self.photos = [torch.load(file) for file in files]
                self.transform = transform

            def __getitem__(self, i):
                self.photos[i] = self.transform(self.photos[i])
                return self.photos[i]
        """,
        """
        import torch
        import torchvision.transforms.functional as TF
        from torch.utils.data import Dataset

        class Scans(Dataset):
            def __init__(self, scans):
                self.scans = torch.stack([torch.from_numpy(scan) for scan in scans])

            def __getitem__(self, i):
                return self.scale(self.scans[i])

            def scale(self, scan):
                return TF.normalize(scan, [0.5], [0.5], inplace=True)
        """,
        """
        import torch
        from torch.utils.data import Dataset

        class Vectors(Dataset):
            def __init__(self, x):
                self.x = torch.tensor(x)

            def __getitem__(self, i):
                x = self.x[i]
                x -= x.mean()  # the second time it changes nothing: a note
                return x
        """,
    )
    good = (
        """
        import numpy as np
        from torch.utils.data import Dataset

        class Digits(Dataset):
            def __init__(self, path):
                self.images = np.load(path)
                self.labels = np.load(path + ".labels")

            def __getitem__(self, i):
                x = self.images[i].astype(np.float32)
                x /= 255
                y = self.labels[i]
                y -= 1  # a number, not a view
                z = self.images[i]
                z = z - self.mean
                z *= 2
                return torch.from_numpy(x), y, z
        """,
        """
        import torch
        from torch.utils.data import Dataset

        class Waves(Dataset):
            def __init__(self, x, y):
                self.x = torch.tensor(x)
                self.seen = torch.zeros(len(x))

            def __getitem__(self, index):
                self.seen[index] += 1
                wave = self.x[index].clone()
                wave.add_(0.1 * torch.randn_like(wave))
                batch = self.x[[index, index + 1]]
                batch.mul_(2)
                return wave, batch
        """,
        """
        import torch
        from torch.utils.data import Dataset

        class Photos(Dataset):
            def __init__(self, files):
                self.files, self.cache = files, {}
                self.photos = [None for _ in files]

            def __getitem__(self, i):
                if self.photos[i] is None:
                    self.photos[i] = load(self.files[i])
                self.cache[i] = self.photos[i]
                return self.photos[i]
        """,
        """
        import h5py
        from torch.utils.data import Dataset

        class Volumes(Dataset):
            def __init__(self, path, parts):
                self.volumes = h5py.File(path)["volumes"]
                self.parts, self.ages = parts, parts.ages

            def __getitem__(self, i):
                x, part, age = self.volumes[i], self.parts[i], self.ages[i]
                x /= 255
                age -= 40
                part["image"] = x, age
                return part
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        forks = _forks(script)
        for getter in script.functions:
            if getter.owner and getter.name == f"{getter.owner}.__getitem__" and len(getter.parameters) == 2:
                methods = {f.name.rpartition(".")[2]: f for f in script.functions if f.owner == getter.owner}
                views = Views(kept(methods.values()), {getter.parameters[1].name}, {})
                for change in _changes(getter, views, methods):
                    again = "" if change.repeats else "; a second time that changes little"
                    message = f"changes in place what `{change.base}` stores{again}"
                    yield self.at(
                        change.event, message, certain=change.repeats and change.kind in CERTAIN and not forks
                    )


@dataclass(frozen=True, slots=True)
class _Change:
    event: Event
    base: str
    kind: str
    repeats: bool  # the numbers change once more each time


def _changes(function: Function, views: Views, methods: Mapping[str, Function]) -> Iterator[_Change]:
    for at, event in enumerate(function.events):
        view = _changed(function, views, event)
        if view is not None:
            yield _Change(event, view.base, view.kind, _repeats(function, event, at))
        elif event.kind == "assign" and event.value is not None and event.name.startswith("self."):
            yield from _stored_anew(function, views, event)
        elif event.kind == "call" and event.value is not None and event.value.name.startswith("self."):
            helper = methods.get(event.value.name.removeprefix("self."))
            if helper is not None and helper is not function:
                yield from _changes(helper, _given(views, event.value, helper), {})
        views.bind(event)


def _given(views: Views, call: Value, helper: Function) -> Views:
    """What the parameters of a method are given by a call of it."""
    passed = list(zip(helper.parameters[1:], call.arguments, strict=False))
    held = {parameter.name: view for parameter, value in passed if (view := views.of(value)) is not None}
    counted = {parameter.name for parameter, value in passed if value.name in views.counted}
    return Views(views.attributes, counted, held)


def _changed(function: Function, views: Views, event: Event) -> View | None:
    """The view that an event changes, if it is surely no number of its own."""
    value, view = event.value, None
    if value is None:
        return None
    if event.kind == "augment" and value.name in OPERATORS:
        view = views.of(value.arguments[0])
    elif event.kind == "assign" and event.name.endswith("]"):
        name, _, key = event.name.removesuffix("]").partition("[")
        view = views.of(Value("name", name)) if not key or key.lstrip("-").isdigit() else None  # else a dict
        return view if view is not None and view.kind else None
    elif event.kind == "call" and value.method in REPEATED | ONCE and value.receiver is not None:
        view = views.of(value.receiver)
        return view if view is not None and view.kind else None
    elif event.kind == "call" and value.arguments and _is_in_place(value):
        return views.of(value.arguments[0])
    if view is None or not view.kind or any(part.kind == "list" for part in value.within()) or COUNTS.search(view.base):
        return None
    return None if view.number and not _is_array(function, value.arguments[0]) else view


def _stored_anew(function: Function, views: Views, event: Event) -> Iterator[_Change]:
    """`self.images[i] = self.transform(self.images[i])`, where nothing asks whether it has been done."""
    call, base = event.value, event.name.partition("[")[0]
    asked = any(
        function.blocks[block].kind in ("if", "else", "try", "except") for block in function.enclosing(event.block)
    )
    if call is None or call.kind != "call" or call.method in CONVERTS or asked or not event.name.endswith("]"):
        return
    for given in call.arguments:
        view = views.of(given)
        if view is not None and view.base == base and (view.kind or TRANSFORMS.search(call.name)):
            yield _Change(event, base, view.kind or "list", True)


def _is_in_place(call: Value) -> bool:
    asked = call.argument(None, "inplace")
    return call.method == "normalize" and asked is not None and asked.constant is True


def _is_array(function: Function, value: Value) -> bool:
    """Whether the function uses a value as an array of several numbers."""
    values = [e.value for e in function.events if e.value is not None]
    for part in (part for value in values for part in value.within()):
        if part.kind == "item" and part.base is not None and part.base.name == value.name:
            return True
        if part.name.startswith(f"{value.name}.") and part.method in OWN | {"shape", "transpose", "T", "reshape"}:
            return True
        if part.name == "torch.from_numpy" and part.arguments and part.arguments[0].name == value.name:
            return True
    return value.kind == "item" and value.arguments[0].kind == "tuple"


def _repeats(function: Function, event: Event, at: int) -> bool:
    """Whether a change is made once more each time: not by what is measured of the numbers themselves, nor a fixed value."""
    value = event.value
    if value is None or event.kind == "assign" or value.method in ONCE:
        return False
    changed = value.arguments[0] if event.kind == "augment" or _is_in_place(value) else value.receiver
    given = value.arguments[1:] if event.kind == "augment" else value.arguments
    named = [bound(function, part.name, at) for part in given if part.kind == "name"]
    return not any(_measures(part, str(changed)) for whole in (*given, *named) if whole for part in whole.within())


def _measures(part: Value, name: str) -> bool:
    own = [str(part.receiver), *(str(argument) for argument in part.arguments[:1])]
    return part.kind == "call" and part.method in OWN and name in own


def _forks(script: Script) -> bool:
    """Whether the file's loaders work with processes that forget after each epoch what they have changed."""
    loaders = (call for call in script.calls if call.method.endswith("DataLoader"))
    workers = ((c.argument(None, "num_workers"), c.argument(None, "persistent_workers")) for c in loaders)
    return any(some is not None and some.constant != 0 and kept is None for some, kept in workers)
