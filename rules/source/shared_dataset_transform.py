"""ML187."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.core.record import dataclass
from modellint.source import parts
from modellint.source.branches import arms, contradict
from modellint.source.code import Event, Function, Value
from modellint.source.tensors import bound

SETTING = r"(?:transforms?|\w+_transforms?|transforms?_\w+|aug\w*|is_train\w*|train|training|mode|phase)"
SET = pattern(rf"(?P<part>.+?)(?P<inside>(?:\.dataset)*)\.(?P<what>{SETTING})")
ASSIGNED = pattern(rb"(?<!\bself)\.(?:\w*transforms?\w*|aug\w*|is_train\w*|train|training|mode|phase) *=[^=]")
INSIDE = ".dataset"
LOADS = pattern(r"[lL]oader")


class SharedDatasetTransform(SourceRule):
    """A transform is set for one part of a split data set, as if each part had one of its own.

    Why: the parts of `random_split` and `Subset` hold one and the same data set. What is set on `val.dataset` holds for the
        training too, which loses its augmentation (or the evaluation gains it): the last assignment wins. What is set on
        the part itself is read by nothing.
    Fix: make the data set twice, once with each transform, and give each its own indices: `Subset(plain, val.indices)`; or
        copy it first: `val.dataset = copy.copy(val.dataset)`.
    Ignore: when every part is meant to be transformed so.
    Reported: https://github.com/yoshitomo-matsubara/torchdistill/issues/209, https://github.com/torchgeo/torchgeo/pull/257
    """

    code, severity, certain, topic = "ML187", Severity.WARNING, True, "data"
    calls = ("random_split", "Subset")
    words = (("random_split(", ASSIGNED), ("Subset(", ASSIGNED))
    bad = (
        """
        from torch.utils.data import DataLoader, random_split
        from torchvision import datasets

        full = datasets.ImageFolder("data", transform=augmented)
        train_set, val_set = random_split(full, [800, 200])
        val_set.dataset.transform = plain
        train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
        val_loader = DataLoader(val_set, batch_size=32)
        """,
        """
        import torch

        def loaders(dataset):
            train, test = torch.utils.data.random_split(dataset, [0.8, 0.2])
            train.dataset.transform = augmented
            test.dataset.transform = plain
            return torch.utils.data.DataLoader(train, shuffle=True), torch.utils.data.DataLoader(test)
        """,
        """
        from torch.utils.data import DataLoader, Subset
        from sklearn.model_selection import KFold

        for train_ids, val_ids in KFold(5).split(images):
            train_part, val_part = Subset(images, train_ids), Subset(images, val_ids)
            loader = DataLoader(train_part, shuffle=True)
            val_part.dataset.augment = False
            fit(loader, DataLoader(val_part))
        """,
        """
        from torch.utils.data import DataLoader, random_split

        class Birds:
            def setup(self, stage):
                full = Photos(self.root, transform=augmented)
                self.train_set, self.val_set = random_split(full, [800, 200])
                self.val_set.dataset.transform = plain

            def train_dataloader(self):
                return DataLoader(self.train_set, shuffle=True)

            def val_dataloader(self):
                return DataLoader(self.val_set)
        """,
        """
        from torch.utils.data import DataLoader, random_split

        train_set, val_set = random_split(Photos(root), [800, 200])
        train_set.transform = augmented
        train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
        """,
    )
    good = (
        """
        import copy
        from torch.utils.data import DataLoader, random_split

        train_set, val_set = random_split(full, [800, 200])
        val_set = copy.deepcopy(val_set)
        val_set.dataset.transform = plain
        train_loader = DataLoader(train_set, shuffle=True)
        """,
        """
        import copy
        from torch.utils.data import DataLoader, Subset

        train_set, val_set = Subset(full, train_ids), Subset(full, val_ids)
        val_set.dataset = copy.copy(full)
        val_set.dataset.transform = plain
        train_loader = DataLoader(train_set, shuffle=True)
        """,
        """
        from torch.utils.data import DataLoader, Subset

        train_set = Subset(Photos(root, augmented), train_ids)
        val_set = Subset(Photos(root), val_ids)
        val_set.dataset.transform = plain
        train_loader = DataLoader(train_set, shuffle=True)
        """,
        """
        from torch.utils.data import DataLoader, random_split

        train_set, val_set = random_split(full, [800, 200])
        loader = DataLoader(train_set, shuffle=True)
        for epoch in range(10):
            train_set.dataset.transform = augmented
            fit(loader)
            val_set.dataset.transform = plain
            measure(DataLoader(val_set))
        """,
        """
        from torch.utils.data import DataLoader, random_split

        train_set, val_set = random_split(full, [800, 200])
        fit(DataLoader(train_set, shuffle=True))
        val_set.dataset.transform = plain
        measure(DataLoader(val_set))
        """,
        """
        from torch.utils.data import DataLoader, random_split

        train_set, val_set = random_split(full, [800, 200])
        train_set.dataset.transform = plain
        val_set.dataset.transform = plain
        loaders = DataLoader(train_set, shuffle=True), DataLoader(val_set)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            settings = list(_settings(function))
            for setting in settings:
                if setting.inside:
                    yield from self._shared(script, function, setting, settings)
                elif setting.what.startswith("transform") and not _reads(script, setting.what):
                    message = f"sets `{setting.what}` on a part of a data set: nothing reads it there"
                    yield self.at(setting.event, message, certain=_is_loaded(function, setting.part))

    def _shared(
        self, script: Script, function: Function, setting: _Setting, settings: list[_Setting]
    ) -> Iterator[Diagnostic]:
        alike = [s for s in settings if s.inside and (s.part.whole, s.what) == (setting.part.whole, setting.what)]
        own = {s.part.name: str(s.event.value) for s in alike}
        others = [name for name in setting.others if own.get(name) != own[setting.part.name]]
        used = [name for name in others if _is_used(script, function, name, setting.at)]
        if used and alike[-1] is setting:
            message = f"sets `{setting.what}` for `{used[0]}` too: both are parts of one data set"
            meant = parts.evaluates(setting.part.name) or any(name in own for name in used)
            yield self.at(setting.event, message, certain=meant)


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    whole: tuple[str, int]  # the data set that it is a part of
    block: int


@dataclass(frozen=True, slots=True)
class _Setting:
    """`part.dataset.what = ...`; not `inside`: `part.what = ...`."""

    event: Event
    at: int
    part: _Part
    what: str
    inside: bool
    others: tuple[str, ...]  # the other parts of the same data set


def _settings(function: Function) -> Iterator[_Setting]:
    held = dict[str, _Part]()
    for at, event in enumerate(function.events):
        if event.kind == "assign" and event.value is not None:
            found = SET.fullmatch(event.name) if held else None
            part = held.get(found["part"]) if found is not None else None
            if found is not None and part is not None and _is_beside(function, part, event):
                others = (p.name for p in held.values() if p.whole == part.whole and p.name != part.name)
                yield _Setting(event, at, part, found["what"], bool(found["inside"]), tuple(others))
            held.pop(event.name.removesuffix(INSIDE), None)
            if (whole := _whole(function, event.value, at)) is not None:
                held[event.name] = _Part(event.name, whole, event.block)


def _whole(function: Function, value: Value, at: int) -> tuple[str, int] | None:
    """The data set of which a part is taken: what it is called, and what that is bound to."""
    call = value.base if value.kind == "item" and value.base is not None else value
    if call.kind != "call" or call.name not in ("torch.utils.data.random_split", "torch.utils.data.Subset"):
        return None
    given = call.argument(0, "dataset")
    if given is None or given.kind != "name":
        return "", id(given or call)
    return given.name, id(bound(function, given.name, at))


def _is_beside(function: Function, part: _Part, event: Event) -> bool:
    """Whether it is set where the part is made: not later, in a loop or on another path."""
    loops = (
        [b for b in function.enclosing(block) if function.blocks[b].is_loop] for block in (part.block, event.block)
    )
    return next(loops) == next(loops) and not contradict(arms(function, part.block), arms(function, event.block))


def _is_used(script: Script, function: Function, name: str, at: int) -> bool:
    """Whether a part, or a loader of it, is used after an event."""
    names = {name}
    for place, event in enumerate(function.events):
        if event.value is not None and _mentions(event.value, names):
            if place > at:
                return True
            names |= {event.name} if event.kind == "assign" and LOADS.search(str(event.value)) else set()
    seen = (f for f in script.functions if f is not function and f.owner == function.owner)
    reachable = function.kind == "module" or function.owner is not None
    return reachable and any(_mentions(e.value, names) for f in seen for e in f.events if e.value is not None)


def _mentions(value: Value, names: set[str]) -> bool:
    return any(part.kind == "name" and part.name in names for part in value.within())


def _reads(script: Script, what: str) -> bool:
    """Whether anything reads an attribute of that name of anything but `self`."""
    values = (event.value for function in script.functions for event in function.events if event.value is not None)
    read = (part for value in values for part in value.within() if part.kind in ("name", "attribute"))
    return any(part.method == what and part.name != f"self.{what}" for part in read)


def _is_loaded(function: Function, part: _Part) -> bool:
    """Whether a part goes into a loader as it is."""
    given = (call.argument(0, "dataset") for call in function.calls if call.method == "DataLoader")
    return any(data is not None and data.name == part.name for data in given)
