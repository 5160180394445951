"""Which values are views of an array or tensor that an object stores: what is done to them in place is done to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modellint.core.pattern import pattern
from modellint.core.record import dataclass

from .code import Event, Function, Value
from .tensors import bound

NUMPY = frozenset(
    "array asarray zeros ones empty full arange linspace stack vstack hstack concatenate load loadtxt genfromtxt fromfile "
    "rand randn random normal uniform".split()
)
TORCH = frozenset("tensor from_numpy stack cat zeros ones randn rand arange linspace FloatTensor Tensor full".split())
ARRANGED = frozenset(
    "view squeeze unsqueeze permute transpose detach swapaxes movedim narrow select contiguous numpy".split()
)
CONVERTED = ARRANGED | frozenset("float double half long int to cuda cpu type astype reshape clone copy".split())
TAKEN = frozenset("from_numpy squeeze transpose swapaxes moveaxis".split())  # a view of what the function is given
PARTS = ("T", "mT", "data", "real")
INDICES = pattern(r"(\w*_)?(ids|idx|idxs|indices|index|order|perm|permutation)")
WRAPPED = pattern(r"dataset|(^|_)ds(_|$)|source|loader|file|store|reader|env|h5")  # makes its items when it is asked
DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Kept:
    """What an attribute holds: a "tensor", an "array", what the object was "given", or something else (""); or `each` of a
    list is such."""

    kind: str = ""
    each: bool = False


@dataclass(frozen=True, slots=True)
class View:
    base: str  # the attribute: `self.images`
    kind: str
    number: bool = False  # it may be a single number, which is a copy


def kept(methods: Iterable[Function]) -> dict[str, Kept]:
    """What the attributes of `self` hold, where all that is assigned to them is of one kind."""
    found: dict[str, set[Kept]] = {}
    for function in methods:
        for at, event in enumerate(function.events):
            if event.kind == "assign" and event.name.startswith("self.") and event.value is not None:
                found.setdefault(event.name, set()).add(_kept(function, event.value, at, DEEPEST))
    return {name: kinds.pop() if len(kinds) == 1 else Kept() for name, kinds in found.items()}


def _kept(function: Function, value: Value, at: int, depth: int) -> Kept:
    if value.kind == "comprehension" and value.arguments and depth:
        inner = _kept(function, value.arguments[0], at, depth - 1)
        return Kept(inner.kind, bool(inner.kind))
    given = value.kind == "name" and any(parameter.name == value.name for parameter in function.parameters)
    return Kept(_kind(function, value, at, depth) or ("given" if given and not WRAPPED.search(value.name) else ""))


def _kind(function: Function, value: Value, at: int, depth: int) -> str:
    if not depth:
        return ""
    if value.kind == "name":
        made = bound(function, value.name, at)
        return _kind(function, made, at, depth - 1) if made is not None else ""
    if value.kind == "operation":
        kinds = (_kind(function, part, at, depth - 1) for part in value.arguments)
        return next(filter(None, kinds), "")
    if value.kind == "item" and value.base is not None:
        archive = isinstance(value.arguments[0].constant, str) and value.base.name == "numpy.load"
        sliced = value.arguments[0].kind == "unknown"
        return "array" if archive else _kind(function, value.base, at, depth - 1) if sliced else ""
    return _made(function, value, at, depth) if value.kind == "call" else ""


def _made(function: Function, call: Value, at: int, depth: int) -> str:
    if call.name.startswith("torch."):
        return "tensor" if call.method in TORCH else ""
    if call.name.startswith("numpy."):
        return "array" if call.method in NUMPY and call.argument(None, "mmap_mode") is None else ""
    if call.method == "to_numpy":
        return "array"
    inner = _kind(function, call.receiver, at, depth - 1) if call.receiver and call.method in CONVERTED else ""
    return "array" if inner and call.method == "numpy" else inner


class Views:
    """The names of a method that are such views, as far as it has been read; `counted` are names of whole numbers."""

    def __init__(self, attributes: Mapping[str, Kept], counted: Iterable[str], held: Mapping[str, View]) -> None:
        self.attributes = attributes
        self.counted = set(counted)
        self.held = dict(held)

    def bind(self, event: Event) -> None:
        if event.kind != "assign" or event.value is None:
            return
        view = self.of(event.value)
        self.held.pop(event.name, None)
        self.held |= {event.name: view} if view is not None else {}
        if self._counts(event.value):
            self.counted.add(event.name)
        else:
            self.counted.discard(event.name)

    def of(self, value: Value) -> View | None:
        if value.kind == "name":
            head, _, part = value.name.rpartition(".")
            return self.held.get(value.name) or (self.held.get(head) if part in PARTS else None)
        if value.kind == "item" and value.base is not None:
            return self._item(value.base, value.arguments[0])
        if value.kind != "call":
            return None
        if value.name.startswith(("torch.", "numpy.")):
            return self.of(value.arguments[0]) if value.method in TAKEN and value.arguments else None
        arranged = value.method in ARRANGED or value.method.endswith("_")
        return self.of(value.receiver) if arranged and value.receiver is not None else None

    def _item(self, base: Value, index: Value) -> View | None:
        if not self._is_basic(index):
            return None
        if base.kind == "name" and base.name.startswith("self."):
            known = self.attributes.get(base.name, Kept())
            alone = index.kind in ("name", "constant", "operation", "item")
            if known.kind == "given" and not alone:  # the slice of a list is a copy
                return None
            return View(base.name, known.kind, known.kind != "tensor" and not known.each and alone)
        return self.of(base)

    def _is_basic(self, index: Value) -> bool:
        """Whether an index gives a view: whole numbers and slices, not lists, masks or keys."""
        if index.kind == "tuple":
            return all(map(self._is_basic, index.arguments))
        return (index.kind == "unknown" and ":" in index.name) or self._counts(index)

    def _counts(self, value: Value) -> bool:
        if value.kind == "constant":
            return isinstance(value.constant, int)
        if value.kind == "operation":
            return all(self._counts(part) or part.name == "len" for part in value.arguments)
        if value.kind == "item" and value.base is not None:
            return INDICES.fullmatch(value.base.method) is not None and self._counts(value.arguments[0])
        return value.name == "int" if value.kind == "call" else value.name in self.counted
