"""What was executed: operations that refer to what they read, in the module calls that made them."""

from __future__ import annotations

import weakref
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple, Union

import torch
from torch import Tensor

_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
_WRITING = frozenset(("__setitem__", *("__i" + name + "__" for name in _BINARY)))
Path = Tuple[Any, ...]
Made = Tuple[Path, Tuple[int, ...], str]  # where in the result a tensor lies, its shape and its dtype


class Call:
    """One call of a module, made within `parent`; iterates outwards."""

    __slots__ = ("inputs", "kind", "line", "module", "parent", "suspended")

    def __init__(self, module: torch.nn.Module, parent: Optional[Call], line: Any) -> None:
        self.module, self.kind, self.parent = weakref.ref(module), type(module), parent
        self.line, self.inputs, self.suspended = line, (), False

    def __iter__(self) -> Iterator[Call]:
        call: Optional[Call] = self
        while call is not None:
            yield call
            call = call.parent


class Ref(NamedTuple):
    """One tensor: the operation or leaf it came from, and where in the (nested) result it lay."""

    source: Union[Op, Leaf]
    path: Path = ()


class Leaf:
    """A tensor that no operation made: a weight, a buffer or data."""

    def __init__(self, tensor: Tensor, call: Any) -> None:
        self.tensor = weakref.ref(tensor)
        self.key = id(tensor)
        self.parameter = isinstance(tensor, torch.nn.Parameter)
        self.grad, self.call = tensor.requires_grad, call
        self.outputs: Tuple[Made, ...] = (outline((), tensor),)
        self.measured: Dict[str, Tensor] = {}


class Op:
    """One executed operation. It refers to what it read, never to what it made: a dead result takes its past along."""

    __slots__ = ("args", "attached", "call", "function", "grad", "kwargs", "line", "measured", "outputs")

    def __init__(self, function: Any, args: Any, kwargs: Any, call: Any, line: Any) -> None:
        self.function, self.args, self.kwargs, self.call, self.line = function, args, kwargs, call, line
        self.outputs: Tuple[Made, ...] = ()
        self.grad = False
        self.attached = False  # made without gradient and attached later, as re-entrant checkpointing does
        self.measured: Dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[Ref]:
        return refs((self.args, self.kwargs))


def unseen() -> None:
    """Stands for whatever made a tensor out of sight: under `vmap`, in C, before the recording began."""


def refs(value: Any) -> Iterator[Ref]:
    """Every Ref in an encoded value, in order."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from refs(item)
    elif isinstance(value, slice):
        yield from refs((value.start, value.stop, value.step))


def reachable(sources: Iterable[Union[Op, Leaf]]) -> List[Union[Op, Leaf]]:
    """All operations and leaves that `sources` depend on, themselves included, each after what it reads."""
    order: Dict[int, Union[Op, Leaf]] = {}
    entered: Set[int] = set()
    stack = [(source, False) for source in sources]
    while stack:
        source, done = stack.pop()
        if done:
            order[id(source)] = source
        elif id(source) not in entered:
            entered.add(id(source))
            stack.append((source, True))
            if isinstance(source, Op):
                stack.extend(reversed([(ref.source, False) for ref in source]))
    return list(order.values())


def tensors_in(value: Any, path: Path = ()) -> Iterator[Tuple[Path, Tensor]]:
    """(path, tensor) for every tensor in a (nested) result."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from tensors_in(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors_in(item, (*path, key))


def writes(function: Any) -> bool:
    """Whether a torch function changes its first argument in place."""
    name = getattr(function, "__name__", "")
    return name in _WRITING or (name.endswith("_") and not name.endswith("__"))


def outline(path: Path, tensor: Tensor) -> Made:
    try:
        shape = tuple(int(size) for size in tensor.shape)
    except (RuntimeError, AttributeError):  # nested tensors and lazy parameters have none
        shape = ()
    return path, shape, str(tensor.dtype)
