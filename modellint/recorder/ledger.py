"""Which operation made which live tensor: a ledger that holds tensors weakly and so forgets what nobody can reach."""

import weakref
from typing import Any, NamedTuple, Tuple

import torch

LIMIT = 200_000  # operations remembered at once: a long preparation of data must not pile up
_LITERALS = (int, float, bool, str, complex, type(None), type(Ellipsis), torch.dtype, torch.device)
_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
_WRITING = frozenset(("__setitem__", *("__i" + name + "__" for name in _BINARY)))


class Ref(NamedTuple):
    """One tensor: the operation or leaf it came from, and where in the (nested) result it lay."""

    source: Any
    path: Tuple = ()


class Leaf:
    """A tensor that no recorded operation made: a parameter, a buffer, or data."""

    def __init__(self, tensor, call):
        self.tensor = weakref.ref(tensor)
        self.key = id(tensor)
        self.parameter = isinstance(tensor, torch.nn.Parameter)
        self.grad = tensor.requires_grad
        self.outputs = (((), _shape(tensor), str(tensor.dtype)),)
        self.call = call
        self.std = None


class Op:
    """One executed operation. It refers to what it read, never to what it made: dead results take their past with them."""

    __slots__ = ("args", "call", "function", "grad", "kwargs", "line", "outputs", "std")

    def __init__(self, function, args, kwargs, call, line):
        self.function, self.args, self.kwargs = function, args, kwargs
        self.call, self.line = call, line
        self.outputs, self.grad, self.std = (), False, None

    def __iter__(self):
        return refs((self.args, self.kwargs))


class _Weak(weakref.ref):
    __slots__ = ("key",)


class Ledger:
    def __init__(self):
        self.entries = {}
        self._made = 0

    def find(self, tensor):
        entry = self.entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def ref(self, tensor, call=None):
        """Where `tensor` came from; a tensor never seen before becomes a leaf."""
        found = self.find(tensor)
        if found is None:
            found = self._bind(tensor, Ref(Leaf(tensor, call)))
        elif tensor.requires_grad:
            found.source.grad = True  # made under no_grad and attached later: re-entrant checkpointing
        return found

    def add(self, op, tensors):
        """`op` made `tensors`, an iterable of (path, tensor)."""
        made = []
        for path, tensor in tensors:
            made.append((path, _shape(tensor), str(tensor.dtype)))
            op.grad = op.grad or tensor.requires_grad
            if tensor.is_leaf and tensor.requires_grad:
                self.ref(tensor, op.call)  # a weight stays a leaf, however it was filled
            else:
                self._bind(tensor, Ref(op, path))
                self._rebind_base(tensor, op)
        op.outputs = tuple(made)
        self._made += 1
        if self._made > LIMIT:
            self._sweep()

    def encode(self, value, call=None):
        """`value` with every tensor replaced by its Ref and everything unprintable by its type's name."""
        if isinstance(value, torch.Tensor):
            return self.ref(value, call)
        if isinstance(value, (list, tuple)):
            return tuple(self.encode(item, call) for item in value[:256])
        if isinstance(value, dict):
            return {str(key): self.encode(item, call) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(*(self.encode(part, call) for part in (value.start, value.stop, value.step)))
        return value if isinstance(value, _LITERALS) else type(value).__name__

    def _bind(self, tensor, ref):
        weak = _Weak(tensor, self._forget)
        weak.key = id(tensor)
        self.entries[weak.key] = (weak, ref)
        return ref

    def _forget(self, weak):
        entry = self.entries.get(weak.key)
        if entry is not None and entry[0] is weak:
            del self.entries[weak.key]

    def _rebind_base(self, tensor, op):
        base = tensor._base if tensor._is_view() else None
        changed = base is not None and self.find(base) is not None and writes(op.function)
        if changed and not (base.is_leaf and base.requires_grad):
            self._bind(base, Ref(op))

    def _sweep(self):
        self._made = len(reachable(entry[1].source for entry in list(self.entries.values())))
        if self._made > LIMIT // 2:
            self.entries.clear()
            self._made = 0


def refs(value):
    """Every Ref in an encoded value, in order."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from refs(item)
    elif isinstance(value, slice):
        yield from refs((value.start, value.stop, value.step))


def reachable(sources):
    """All operations and leaves that `sources` depend on, themselves included, each after what it reads."""
    order, entered, stack = {}, set(), [(source, False) for source in sources]
    while stack:
        source, done = stack.pop()
        if done:
            order[id(source)] = source
        elif id(source) not in entered:
            entered.add(id(source))
            stack.append((source, True))
            if isinstance(source, Op):
                stack.extend((ref.source, False) for ref in source)
    return list(order.values())


def tensors_in(value, path=()):
    """(path, tensor) for every tensor in a (nested) result."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from tensors_in(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors_in(item, (*path, key))


def writes(function):
    """Whether a torch function changes its first argument in place."""
    name = getattr(function, "__name__", "")
    return name in _WRITING or (name.endswith("_") and not name.endswith("__"))


def _shape(tensor):
    return tuple(int(size) for size in tensor.shape)
