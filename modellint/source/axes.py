"""How many axes a tensor of a function has at the least, as far as the function and the layers of its class tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modellint.core.record import dataclass

from .code import Function, Value
from .products import equation, factors, is_product
from .script import Script

SHAPES = frozenset({"view", "reshape", "permute"})
LIKE = frozenset(
    "transpose swapaxes contiguous to float half masked_fill softmax clone type_as detach div mul exp relu".split()
)
TURNS = frozenset({"transpose", "swapaxes", "permute", "t"})
LAYERS = frozenset({"torch.nn.Linear", "torch.nn.Dropout", "torch.nn.LayerNorm"})
DEEPEST = 12


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    function: Function
    layers: frozenset[str]  # those of its class that keep the number of axes
    lambdas: Mapping[str, Value]  # what those of the file return

    def of(self, value: Value, at: int, depth: int = DEEPEST) -> int | None:
        """Of a value at an event of the function; None if nothing tells."""
        if depth == 0:
            return None
        if value.kind == "name":
            return self._named(value.name, at, depth)
        if is_product(value):
            return self._product(value, at, depth)
        if value.kind == "operation":
            return self._most(value.arguments, at, depth)
        if value.kind == "item":
            each = self._each(value.base)
            return self.of(each, at, depth - 1) if each is not None else self._part(value, at, depth)
        return self._called(value, at, depth) if value.kind == "call" else None

    def _part(self, item: Value, at: int, depth: int) -> int | None:
        """One less than of what it is taken from: `qkv[0]` of a tensor that was turned."""
        alone = item.base is not None and isinstance(item.arguments[0].constant, int)
        count = self.of(item.base, at, depth - 1) if alone and item.base is not None else None
        return count - 1 if count is not None else None

    def _named(self, name: str, at: int, depth: int) -> int | None:
        for index in range(at - 1, -1, -1):
            event = self.function.events[index]
            if event.kind in ("assign", "augment") and event.name == name:
                return self.of(event.value, index, depth - 1) if event.value is not None else None
        return self._taken_apart(name)

    def _each(self, made: Value | None) -> Value | None:
        """What each of several tensors is made by: `(f(x).view(...) for f in ...)`, `map(lambda t: ..., ...)`."""
        if made is None or not made.arguments:
            return None
        if made.kind == "comprehension":
            return made.arguments[0]
        return self.lambdas.get(made.arguments[0].name) if made.name == "map" else None

    def _taken_apart(self, name: str) -> int | None:
        """Of a parameter whose shape is taken apart: `b, t, c = x.shape`."""
        parts = [event.value for event in self.function.events if event.kind == "assign" and event.value is not None]
        places = [v.arguments[0].constant for v in parts if v.kind == "item" and _is_shape(v.base, name)]
        numbers = [place for place in places if isinstance(place, int)]
        return max(numbers) + 1 if numbers else None

    def _product(self, product: Value, at: int, depth: int) -> int | None:
        if product.method == "einsum":
            letters = equation(product)
            return len(letters[1]) if letters is not None else None
        if product.method in ("bmm", "baddbmm"):
            return 3
        right = factors(product)[-1]  # a vector would take one axis away
        turned = right.kind == "call" and right.method in TURNS
        return self._most(factors(product), at, depth) if turned or self.of(right, at, depth - 1) else None

    def _called(self, call: Value, at: int, depth: int) -> int | None:
        of_torch = call.name.startswith("torch.")
        given = call.arguments[int(of_torch) :]
        if call.method in SHAPES:
            sizes = given[0].arguments if len(given) == 1 and given[0].kind in ("tuple", "list") else given
            return len(sizes) if len(sizes) > 1 and not any(size.kind == "starred" for size in sizes) else None
        if call.method == "rearrange" and len(call.arguments) > 1:
            written = call.arguments[1].constant
            return _count(written) if isinstance(written, str) else None
        inner = next(iter(call.arguments), None) if of_torch or call.name in self.layers else call.receiver
        keeps = call.method in LIKE or call.name in self.layers
        return self.of(inner, at, depth - 1) if keeps and inner is not None else None

    def _most(self, values: Iterable[Value], at: int, depth: int) -> int | None:
        return max((count for value in values if (count := self.of(value, at, depth - 1)) is not None), default=None)


def axes(script: Script, function: Function) -> Axes:
    near = (f for f in script.functions if f.owner is not None and f.owner == function.owner)
    made = ((e.name, e.value) for f in near for e in f.events if e.kind == "assign" and e.value is not None)
    layers = frozenset(name for name, value in made if value.kind == "call" and value.name in LAYERS)
    returned = (
        (f.name, e.value) for f in script.functions if f.kind == "lambda" for e in f.events if e.kind == "return"
    )
    return Axes(function, layers, {name: value for name, value in returned if value is not None})


def _is_shape(value: Value | None, name: str) -> bool:
    if value is None or value.kind not in ("name", "call") or value.arguments:
        return False
    return value.name == (f"{name}.shape" if value.kind == "name" else f"{name}.size")


def _count(pattern: str) -> int | None:
    """The axes of the result of `b n (h d) -> b h n d`: 4."""
    count, depth = 0, 0
    for word in pattern.partition("->")[2].replace("(", " ( ").replace(")", " ) ").split():
        depth += (word == "(") - (word == ")")
        count += word == "(" or (depth == 0 and word != ")")
    return count if "..." not in pattern and count else None
