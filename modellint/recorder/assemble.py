"""Recorded operations to a torch.fx.Graph: what reaches one tensor, each after what it reads."""

from __future__ import annotations

import operator
import types
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
from torch.fx import Graph, Node

from . import frames
from .operation import Leaf, Op, Ref, reachable

# In place, and reversed where the order does not matter: a - b, a / b and a ** b keep their reversed names.
_SPELLINGS = frozenset(
    ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul", "iand", "ior", "ixor", "radd", "rmul")
)


def assemble(found: Ref, parameter_names: Dict[int, str], model: Optional[torch.nn.Module]) -> Graph:
    """The graph of what `found` depends on; each node's meta says in which module and line, and what it made."""
    sources = reachable([found.source])
    _attach(sources)
    return _Assembly(parameter_names, model).build(sources, found)


def operation_name(function: Any) -> str:
    """torch's name of an operation, however it was spelled: `relu_`, `Tensor.relu` and `F.relu` are all "relu"."""
    name = getattr(function, "__name__", type(function).__name__)
    if name == "__get__":
        owner = function.__self__
        name = getattr(owner, "__name__", None) or owner.fget.__name__
    bare: str = name.partition(".")[0].strip("_")  # without the overload of an exported operator
    return bare[1:] if name.startswith("__") and bare in _SPELLINGS else bare


class _Assembly:
    def __init__(self, parameter_names: Dict[int, str], model: Optional[torch.nn.Module]) -> None:
        buffers = model.named_buffers() if model is not None else ()
        self.graph = Graph()
        self.nodes: Dict[Tuple[int, Any], Node] = {}
        self.parameters = parameter_names
        self.names = {**{id(buffer): name for name, buffer in buffers}, **parameter_names}
        self.modules: Dict[int, str] = {}
        self._learn(model, "")

    def build(self, sources: List[Union[Leaf, Op]], found: Ref) -> Graph:
        for leaf in sorted(
            (each for each in sources if isinstance(each, Leaf)), key=lambda leaf: bool(self._name(leaf))
        ):
            self.nodes[id(leaf), ()] = self._leaf(leaf)
        for op in (each for each in sources if isinstance(each, Op)):
            self.nodes[id(op), ()] = self._operation(op)
        self.graph.output(self._value(found))
        return self.graph

    def _leaf(self, leaf: Leaf) -> Node:
        name = self._name(leaf)
        kind = "get_attr" if name else "placeholder"
        node = self.graph.create_node(kind, name or "input", name=name.replace(".", "_") or "input")
        if kind == "placeholder":
            node.target = node.name  # the name of an argument
        weight = leaf.parameter or leaf.key in self.parameters
        node.meta.update(self._meta(leaf), parameter=name if weight else None)
        return node

    def _name(self, leaf: Leaf) -> str:
        """The dotted name of a parameter or buffer, "" for data."""
        if leaf.key in self.names or not leaf.parameter:
            return self.names.get(leaf.key, "")
        module = leaf.call.module() if leaf.call is not None else None
        own = vars(module).get("_parameters", {}) if module is not None else {}
        key = next((key for key, value in own.items() if value is leaf.tensor()), "parameter")
        return ".".join(part for part in (self._path(leaf.call), key) if part)

    def _operation(self, op: Op) -> Node:
        kind, target, args = _target(op.function, self._value(op.args), self._path(op.call))
        node = self.graph.create_node(kind, target, args, self._value(op.kwargs))
        node.meta.update(self._meta(op), line=op.line, operation=operation_name(op.function))
        return node

    def _meta(self, source: Union[Leaf, Op]) -> Dict[str, Any]:
        calls = [(id(call), call.kind.__name__) for call in source.call or ()]
        _, shape, dtype = source.outputs[0]
        return {
            "calls": calls,  # innermost first
            "module": self._path(source.call),
            "module_class": calls[0][1] if calls else "",
            "shape": shape,
            "dtype": dtype,
            "grad": source.grad,
            "measured": source.measured,
            "foreign": next((own for own in map(_is_foreign, source.call or ()) if own is not None), False),
        }

    def _value(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self._part(value)
        if isinstance(value, tuple):
            return tuple(self._value(item) for item in value)
        if isinstance(value, dict):
            return {key: self._value(item) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(self._value(value.start), self._value(value.stop), self._value(value.step))
        return value

    def _part(self, ref: Ref) -> Node:
        """The node of one tensor of a (nested) result; each part of a result is a node of its own."""
        key = (id(ref.source), ref.path)
        if key not in self.nodes:
            whole = self._part(Ref(ref.source, ref.path[:-1]))
            part = self.graph.call_function(operator.getitem, (whole, ref.path[-1]))
            shape, dtype = next(made[1:] for made in ref.source.outputs if made[0][: len(ref.path)] == ref.path)
            part.meta.update(whole.meta, operation="item", shape=shape, dtype=dtype)
            self.nodes[key] = part
        return self.nodes[key]

    def _path(self, call: Any) -> str:
        """The dotted path of the called module in the model; elsewhere, below the class of the outermost module."""
        module = call.module() if call is not None else None
        if module is None:
            return ""
        if id(module) not in self.modules:
            root = list(call)[-1].module()
            self._learn(root, type(root).__name__)
        return self.modules.get(id(module), type(module).__name__)

    def _learn(self, root: Optional[torch.nn.Module], prefix: str) -> None:
        for path, module in root.named_modules() if root is not None else ():
            self.modules.setdefault(id(module), ".".join(part for part in (prefix, path) if part))


def _is_foreign(call: Any) -> Optional[bool]:
    """Whether the class of the called module is installed code; None for torch's own, which anybody may use."""
    return None if call.kind.__module__.startswith("torch.") else frames.is_installed(call.kind)


def _attach(sources: List[Union[Leaf, Op]]) -> None:
    """Carry a gradient that was attached afterwards back to what was computed for it without one."""
    for op in reversed(sources):
        if isinstance(op, Op) and op.attached and operation_name(op.function) not in ("detach", "data"):
            for source in (ref.source for ref in op if isinstance(ref.source, Op) and not ref.source.grad):
                source.grad = source.attached = True


def _target(function: Any, args: Any, path: str) -> Tuple[str, Any, Any]:
    name = getattr(function, "__name__", "")
    if isinstance(function, type) and issubclass(function, torch.nn.Module):
        return "call_module", path, args
    if name == "__get__":
        return "call_function", getattr, (args[0], operation_name(function))
    if getattr(torch.Tensor, name, None) is function or isinstance(function, types.MethodDescriptorType):
        return "call_method", name, args
    return "call_function", function, args
