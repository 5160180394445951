"""The order of a tensor's axes, followed through a function: which named size lies before which in memory."""

from __future__ import annotations

from collections.abc import Mapping

from modellint.core.pattern import pattern
from modellint.core.record import dataclass

from . import arranging
from .arranging import Axis, whole
from .code import Event, Function, Value
from .script import Script

LAYERS = pattern(
    r"torch\.nn\.(\w*ReLU\d?|GELU|SiLU|ELU|SELU|Tanh|Sigmoid|Mish|\w*Dropout\d?d?|\w*BatchNorm\dd|LayerNorm|GroupNorm|RMSNorm|"
    r"InstanceNorm\dd|Identity|Softmax|Hardswish|Softplus)"
)
CONVOLUTIONS = pattern(r"torch\.nn\.Conv(?:Transpose)?([123])d")
RECURRENT = frozenset({"torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN"})
PARTS = frozenset({"chunk", "split", "unbind"})
DEEPEST = 30


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """`axes` are None where their number is not known: each is then named when it is asked for, but the `last`, if it is known."""

    axes: tuple[Axis, ...] | None
    name: str = ""
    last: Axis | None = None

    def axis(self, place: int) -> Axis | None:
        if self.axes is None:
            return (f"{self.name}.{place}",)
        return self.axes[place] if -len(self.axes) <= place < len(self.axes) else None


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a class keeps: its layers by the attributes that hold them, and how its methods call the sizes of its `__init__`."""

    layers: Mapping[str, Value]
    sizes: Mapping[str, str]


def kept(script: Script, owner: str) -> Kept:
    init = next((function for function in script.functions if function.name == f"{owner}.__init__"), None)
    layers: dict[str, Value] = {}
    sizes: dict[str, str] = {}
    twice: set[str] = set()
    for event in init.events if init is not None else ():
        if event.kind == "assign" and event.name.startswith("self.") and event.value is not None:
            twice |= {event.name} & layers.keys()
            layers[event.name] = event.value
            if event.value.kind == "name":
                sizes.setdefault(event.value.name, event.name)
    return Kept({name: value for name, value in layers.items() if name not in twice}, sizes)


class Arrangement:
    """One function, read event by event; it answers for the last one that was read."""

    def __init__(self, function: Function, kept: Kept) -> None:
        self.function = function
        self.kept = kept
        self.sizes: dict[str, tuple[Axis, int]] = {}  # what names are bound to, and in which block
        self._tensors: dict[str, tuple[Tensor, int]] = {}
        self._made: dict[int, Tensor] = {}
        self._taken = arranging.taken_apart(function)
        self._rebound = arranging.rebound(function)
        self._block = 0
        self._count = 0

    def read(self, event: Event) -> None:
        self._block = event.block
        if event.kind == "delete" or (event.kind == "assign" and event.value is None):
            self._tensors.pop(event.name, None)
            self.sizes.pop(event.name, None)
        elif event.kind == "assign" and event.value is not None:
            self._bind(event.name, event.value)

    def _bind(self, name: str, value: Value) -> None:
        size = self._size(value)
        if size is not None:
            self.sizes[name] = size, self._block
            self._tensors.pop(name, None)
            return
        before, made = self._held(name), self.of(value)
        self.sizes.pop(name, None)
        if before is None or before.axes is None or before.axes != made.axes:
            self._tensors[name] = made, self._block

    def size(self, value: Value) -> Axis | None:
        """What a view is given for one axis; None for -1 and what cannot be read."""
        number = whole(value)
        if number is not None:
            return None if number < 0 else (str(number),) if number != 1 else ()
        if value.kind == "name":
            known = self.sizes.get(value.name)
            return known[0] if known is not None and self._holds(value.name, known[1]) else (value.name,)
        if value.kind == "operation" and value.name == "*":
            parts = [self.size(part) for part in value.arguments]
            return None if None in parts else tuple(size for part in parts for size in part or ())
        return self._size(value) or ((str(value),) if value.kind == "operation" else None)

    def _size(self, value: Value) -> Axis | None:
        """`x.size(1)`, `x.shape[1]`."""
        asked = arranging.size_of(value)
        if asked is None:
            return None
        tensor, count = self.of(asked[0]), self._taken.get(id(value.base))
        if tensor.axes is None and count is not None and asked[0].kind == "name":
            tensor = Tensor(tuple((f"{tensor.name}.{place}",) for place in range(count)))
            self._tensors[asked[0].name] = tensor, self._block
        return tensor.axis(asked[1])

    def _holds(self, name: str, block: int) -> bool:
        """Whether a name is still bound as it was in a block around this, and not anew in a loop that was entered since."""
        for index in self.function.enclosing(self._block):
            if index == block:
                return True
            if name in self._rebound.get(index, ()):
                return False
        return False

    def _held(self, name: str) -> Tensor | None:
        found = self._tensors.get(name)
        return found[0] if found is not None and self._holds(name, found[1]) else None

    def _new(self) -> Axis:
        self._count += 1
        return (f"?{self._count}",)

    def of(self, value: Value, depth: int = 0) -> Tensor:
        if value.kind == "name":
            held = self._held(value.name)
            if held is None:
                self._count += 1
                held = Tensor(None, f"{value.name}@{self._count}")
                self._tensors[value.name] = held, self._block
            return held
        if id(value) not in self._made:
            made = self._computed(value, depth + 1) if depth < DEEPEST else None
            self._made[id(value)] = made or Tensor(None, self._new()[0])
        return self._made[id(value)]

    def _computed(self, value: Value, depth: int) -> Tensor | None:
        if value.kind == "operation":
            return self._operation(value, depth)
        if value.kind == "item" and value.base is not None:
            return self._item(value, value.base, depth)
        return self._called(value, depth) if value.kind == "call" else None

    def _operation(self, value: Value, depth: int) -> Tensor | None:
        if value.name == "@":
            return self._product(value.arguments[0], value.arguments[1], depth)
        if value.name not in ("+", "-", "*", "/"):
            return None
        parts = [self.of(part, depth) for part in value.arguments if part.kind != "constant"]
        known = [part for part in parts if part.axes is not None]
        if known and len(known) == len(parts) and all(part.axes == known[0].axes for part in known):
            return known[0]
        axes = known[0].axes if len(known) == 1 else None  # the other is a number, or is broadcast to it
        return Tensor(tuple(axis or self._new() for axis in axes)) if axes is not None and len(axes) > 2 else None

    def _product(self, left: Value, right: Value, depth: int) -> Tensor | None:
        one, other = self.of(left, depth).axes, self.of(right, depth).axes
        if one is None or len(one) < 2:
            return None
        return Tensor((*one[:-1], other[-1] if other is not None and len(other) > 1 else self._new()))

    def _item(self, value: Value, base: Value, depth: int) -> Tensor | None:
        index = value.arguments[0]
        if base.kind == "call" and whole(index) is not None:
            if base.method in PARTS:
                return self._part(base, depth)
            if whole(index) == 0 and base.name in self.kept.layers:
                return self._first(base, depth)
        axes = self.of(base, depth).axes
        return self._indexed(axes, index.arguments if index.kind == "tuple" else (index,)) if axes is not None else None

    def _indexed(self, axes: tuple[Axis, ...], index: tuple[Value, ...]) -> Tensor | None:
        """`x[0]`, `x[:, None]`, `x[:, 1:]`."""
        found: list[Axis] = []
        left = list(axes)
        for part in index:
            if part.kind == "constant" and part.constant is None:
                found.append(())
            elif not left or not (whole(part) is not None or (part.kind == "unknown" and ":" in part.name)):
                return None
            else:
                axis = left.pop(0)
                found += [axis if not part.arguments else self._new()] if part.kind == "unknown" else []
        return Tensor((*found, *left))

    def _part(self, call: Value, depth: int) -> Tensor | None:
        """One of those that a tensor is split into."""
        of, given = arranging.subject(call)
        written = (call.argument(None, "dim"), *given[call.method != "unbind" :])
        place = next((whole(dim) for dim in written if dim is not None), 0)
        axes = self.of(of, depth).axes if of is not None else None
        if axes is None or place is None or not -len(axes) <= place < len(axes):
            return None
        place %= len(axes)
        return Tensor((*axes[:place], *(() if call.method == "unbind" else (self._new(),)), *axes[place + 1 :]))

    def _first(self, call: Value, depth: int) -> Tensor | None:
        """The first that a layer of several results gives."""
        axes = self.of(call.arguments[0], depth).axes if call.arguments else None
        name = self.kept.layers[call.name].name
        if axes is None or name == "torch.nn.MultiheadAttention":
            return Tensor(axes) if axes is not None else None
        return Tensor((*axes[:-1], self._new())) if name in RECURRENT else None

    def _called(self, call: Value, depth: int) -> Tensor | None:
        own = call.base is None and call.name.startswith("self.") and call.name.count(".") == 1
        if own:
            layer = self.kept.layers.get(call.name)
            alone = len(call.arguments) == 1 and not call.unpacks
            return self._applied(layer, self.of(call.arguments[0], depth)) if layer is not None and alone else None
        of, given = arranging.subject(call)
        if of is None or call.unpacks:
            return None
        if call.method in ("matmul", "bmm"):
            return self._product(of, given[0], depth) if given else None
        if call.method == "scaled_dot_product_attention":
            return self._product(of, given[1], depth) if len(given) > 1 else None
        if call.method in arranging.VIEWS:
            sizes = [self.size(size) for size in arranging.sizes(call)]
            return Tensor(tuple(self._new() if size is None else size for size in sizes)) if sizes else None
        tensor = self.of(of, depth)
        return tensor if call.method in arranging.KEEPS else self._arranged(call, tensor, given)

    def _arranged(self, call: Value, tensor: Tensor, given: tuple[Value, ...]) -> Tensor | None:
        numbers = [whole(part) for part in arranging.listed(given)]
        places = [number for number in numbers if number is not None]
        if tensor.axes is None or len(places) < len(numbers) or call.keywords:
            return None
        axes = arranging.arranged(call.method, tensor.axes, places)
        return Tensor(tuple(axes)) if axes is not None else None

    def _applied(self, layer: Value, given: Tensor) -> Tensor | None:
        """What a layer makes of a tensor."""
        if LAYERS.fullmatch(layer.name):
            return given
        if layer.name == "torch.nn.Sequential" and not layer.unpacks:
            made: Tensor | None = given
            for part in layer.arguments:
                made = self._applied(part, made) if made is not None else None
            return made
        if layer.name == "torch.nn.Linear" and given.axes is not None:
            return Tensor((*given.axes[:-1], self._given(layer.argument(1, "out_features"))))
        if layer.name == "torch.nn.Embedding":
            added = self._given(layer.argument(1, "embedding_dim"))
            return Tensor((*given.axes, added)) if given.axes is not None else Tensor(None, given.name, added)
        found, first = CONVOLUTIONS.fullmatch(layer.name), given.axis(0)
        if found is None or first is None:
            return None
        out = self._given(layer.argument(1, "out_channels"))
        return Tensor((first, out, *(self._new() for _ in range(int(found[1])))))

    def _given(self, value: Value | None) -> Axis:
        """A size that __init__ gives a layer, as the methods of the class call it."""
        if value is None:
            return self._new()
        if value.kind == "operation" and value.name == "*":
            return tuple(size for part in value.arguments for size in self._given(part))
        number = whole(value)
        if number is not None:
            return (str(number),) if number != 1 else ()
        known = value.name if value.name.startswith("self.") else self.kept.sizes.get(value.name)
        return (known,) if value.kind == "name" and known else self._new()
