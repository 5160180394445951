"""Shapes of tensors, where they are written in the code: through layers, calls, arithmetic and indexing."""

from __future__ import annotations

from collections.abc import Iterable

from .code import Value
from .columns import Columns
from .dimensions import Shape, broadcast, joined, product, squeezed, stacked, without
from .resolve import Resolver
from .scope import Frame, Source
from .tables import Tables, head_of

DEEPEST = 40
FILLED = frozenset({"rand", "randn", "zeros", "ones", "empty"})
NUMBERS = frozenset({"torch.pi", "torch.e", "math.pi", "math.e", "numpy.pi"})
COPIES = frozenset({"tensor", "as_tensor", "from_numpy"})
LINES = frozenset({"arange", "linspace", "randperm", "logspace"})
KEEPS = frozenset(
    "sin cos exp log sqrt abs relu sigmoid tanh square pow clamp float double half long int bool to cuda cpu detach clone "
    "contiguous requires_grad_ type rand_like randn_like zeros_like ones_like neg round sign gelu dropout".split()
)
LAYERS = frozenset(
    "ReLU GELU Tanh Sigmoid ELU SELU SiLU LeakyReLU Softplus Dropout Identity BatchNorm1d LayerNorm Hardtanh".split()
)
PROPERTIES = frozenset({"shape", "columns", "index", "T", "size", "dtypes", "iloc", "loc", "at", "iat"})  # of a table
ARRAYS = frozenset({"values", "array"})
SAME = frozenset(
    {"astype", "to_numpy", "log1p", "log", "sqrt", "asarray", "array", "float32", "float64"}
)  # of NumPy, too
OPERATORS = ("+", "-", "*", "/", "**", "@", "==", "!=", "<", ">", "<=", ">=")
WHOLE = frozenset({"sum", "mean", "std", "var", "min", "max"})  # to one number, where they are given no dimension
REDUCES = frozenset({"sum", "mean"})


class Shapes:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.columns = Columns(resolver)
        self.tables = Tables(resolver)
        self._depth = 0
        self._known: dict[tuple[Value, Frame], Shape | None] = {}

    def of(self, source: Source) -> Shape | None:
        """None where it is not written, or differs from path to path."""
        if self._depth > DEEPEST:
            return None
        self._depth += 1
        try:
            shapes = {self._of(made) for made in self.resolver.of(source)}
        finally:
            self._depth -= 1
        return shapes.pop() if len(shapes) == 1 else None

    def _of(self, made: Source) -> Shape | None:
        key = made.value, made.frame
        if key not in self._known:
            self._known[key] = None  # of what is computed from itself
            self._known[key] = self._made(made)
        return self._known[key]

    def _made(self, made: Source) -> Shape | None:
        value = made.value
        if value.name in NUMBERS:
            return ()
        if value.kind == "constant":
            return () if isinstance(value.constant, int | float) else None
        if value.kind == "operation":
            return self._computed(made)
        if value.kind == "item" and value.base is not None:
            return self._batched(made) if value.base.kind == "element" else self._indexed(made, value.base)
        if value.kind in ("name", "attribute"):
            return self._attribute(made)
        return self._called(made) if value.kind == "call" else None

    def _attribute(self, made: Source) -> Shape | None:
        """`column.values`, and a column of a table by its name: `frame.price`."""
        head = head_of(made.value)
        if head is None:
            return None
        return self.of(made.of(head)) if made.value.method in ARRAYS else self._named(made, head)

    def _named(self, made: Source, table: Value) -> Shape | None:
        """A column of a table."""
        return (None,) if made.value.method not in PROPERTIES and self.tables.hold(made.of(table)) else None

    def _computed(self, made: Source) -> Shape | None:
        given = [part for part in made.value.arguments if not isinstance(part.constant, str)]
        parts = [self.of(made.of(part)) for part in given]
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts) or made.value.name not in OPERATORS:
            return None
        return product(known[0], known[1]) if made.value.name == "@" else broadcast(known)

    def _batched(self, made: Source) -> Shape | None:
        """A part of what a loader yields: rows of a tensor that is written, or one sample's part after the other."""
        found = self.columns.of(made)
        shape = self.of(found[0]) if found is not None else None
        if found is None or shape is None:
            return None
        return (None, *shape) if found[1] else (None, *shape[1:]) if shape else None

    def _indexed(self, made: Source, base: Value) -> Shape | None:
        """`x[:, 0]`, `x[:5]`; a slice is of no kind that is known."""
        if (whole := self.tables.split(made)) is not None:
            return self.of(whole)
        index = made.value.arguments[0]
        if isinstance(index.constant, str):
            return self._named(made, base)
        shape = self.of(made.of(base))
        if shape and _counts(made, index):
            return shape[1:]
        parts = index.arguments if index.kind == "tuple" else (index,)
        if shape is None or len(parts) > len(shape) or any(not _is_plain(part) for part in parts):
            return None
        kept = [None for part in parts if part.kind == "unknown"]
        return (*kept, *shape[len(parts) :])

    def _called(self, made: Source) -> Shape | None:
        call = made.value
        if call.name in ("float", "int"):
            return ()
        callees = self.resolver.calls.callees(made)
        if len(callees) != 1 or call.unpacks:
            return None
        if callees[0].made is not None:
            return self._module(callees[0].made, self._first(made))
        name, torchs = call.method, call.name.startswith("torch.")
        given = call.arguments
        if name in FILLED and (torchs or call.name.startswith("numpy.")):
            sizes = given[0].arguments if len(given) == 1 and given[0].kind == "tuple" else given
            return self._sizes(made, sizes)
        if torchs and name in LINES:
            return (None,)
        if torchs and name in COPIES and given:
            return _listed(given[0]) if given[0].kind in ("constant", "list", "tuple") else self._first(made)
        if torchs and name in ("stack", "cat") and given and given[0].kind in ("list", "tuple"):
            return self._joined(made, name)
        if call.name.startswith("numpy.") and name in SAME:
            return self._first(made) if given and given[0].kind not in ("list", "tuple") else None
        subject = self._first(made) if torchs else self.of(made.of(call.receiver)) if call.receiver else None
        rest = given[1:] if torchs else given
        return subject if name in KEEPS | SAME else self._reshaped(made, name, subject, rest)

    def _first(self, made: Source) -> Shape | None:
        return self.of(made.of(made.value.arguments[0])) if made.value.arguments else None

    def _sizes(self, made: Source, sizes: Iterable[Value]) -> Shape | None:
        """One dimension for each number; what may be a tuple of sizes gives none."""
        found: list[int | None] = []
        for size in sizes:
            values = [s.value for s in self.resolver.of(made.of(size))]
            numbers = [v.constant for v in values if isinstance(v.constant, int)]
            counts = all(v.name == "len" or v.kind in ("operation", "constant") for v in values)
            if not values or not counts:
                return None
            found.append(numbers[0] if len(numbers) == len(values) == 1 and numbers[0] >= 0 else None)
        return tuple(found)

    def _joined(self, made: Source, name: str) -> Shape | None:
        """As many dimensions as the first part has, and one more if they are stacked."""
        parts, axis = made.value.arguments[0].arguments, made.value.argument(1, "dim")
        first = self.of(made.of(parts[0])) if parts else None
        place = 0 if axis is None else axis.constant
        if first is None or not isinstance(place, int):
            return None
        return stacked(first, place, len(parts)) if name == "stack" else joined(first, place)

    def _reshaped(self, made: Source, name: str, shape: Shape | None, given: tuple[Value, ...]) -> Shape | None:
        if name in ("view", "reshape") and not made.value.name.startswith("torch."):
            return self._sizes(made, given)
        if name in WHOLE and not given and not made.value.keywords and shape is not None:
            return ()
        axis = given[0].constant if given else next((v.constant for k, v in made.value.keywords if k == "dim"), None)
        if shape is None or not isinstance(axis, int) or isinstance(axis, bool):
            return None
        if name == "unsqueeze":
            return stacked(shape, axis, 1)
        if name == "squeeze":
            return squeezed(shape, axis)
        keeps = made.value.argument(None, "keepdim")
        return without(shape, axis) if name in REDUCES and len(given) <= 1 and keeps is None else None

    def _module(self, module: Source, shape: Shape | None) -> Shape | None:
        """What a layer, or one after the other of a Sequential, makes of an input."""
        for callee in self.resolver.calls.callees(module)[:1]:
            name = callee.name.removeprefix("torch.nn.")
            if name == "Linear" and shape:
                given = module.value.argument(1, "out_features")
                sizes = self._sizes(module, [given]) if given is not None else None
                return (*shape[:-1], sizes[0]) if sizes else None
            if name == "Sequential" and callee.class_ is None:
                for item in self.resolver.items.all(module):
                    layers = self.resolver.of(item)
                    shape = self._module(layers[0], shape) if len(layers) == 1 else None
                return shape
            if name in LAYERS and callee.class_ is None:
                return shape
        return None


def _counts(made: Source, index: Value) -> bool:
    """Whether an index is what `__getitem__` is given."""
    function = made.frame.function
    given = function.parameters[1:2] if function.name.endswith("__getitem__") else ()
    return index.kind == "name" and any(index.name == parameter.name for parameter in given)


def _is_plain(index: Value) -> bool:
    return index.kind == "unknown" or (index.kind == "constant" and isinstance(index.constant, int))


def _listed(value: Value) -> Shape | None:
    """Of nested lists of numbers."""
    if value.kind == "constant":
        return ()
    inner = {_listed(item) for item in value.arguments} if value.kind == "list" and not value.unpacks else set()
    shape = inner.pop() if len(inner) == 1 else None
    return (len(value.arguments), *shape) if shape is not None else None
