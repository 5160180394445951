"""Recorded operations to a torch.fx.Graph: what reaches one tensor, in the order it was executed."""

import operator
import types

import torch
from torch.fx import Graph

from .ledger import Leaf, Ref, reachable


def assemble(found, parameter_names, model):
    """The graph of what the Ref `found` depends on; each node's meta says where it was called and what it made."""
    return _Assembly(parameter_names, model).build(found)


class _Assembly:
    def __init__(self, parameter_names, model):
        self.graph, self.nodes, self.items = Graph(), {}, {}
        buffers = model.named_buffers() if model is not None else ()
        self.names = {**{id(buffer): name for name, buffer in buffers}, **parameter_names}
        self.modules, self.roots = {}, {}
        self._learn(model, "")

    def build(self, found):
        sources = reachable([found.source])
        for source in sorted(sources, key=lambda source: not _is_data(source, self.names)):
            self.nodes[id(source)] = self._leaf(source) if isinstance(source, Leaf) else self._operation(source)
        self.graph.output(self._value(found))
        return self.graph

    def _leaf(self, leaf):
        name = self._leaf_name(leaf)
        kind = "get_attr" if name else "placeholder"
        node = self.graph.create_node(kind, name or "input", name=name.replace(".", "_") if name else "input")
        node.meta.update(self._meta(leaf), parameter=name if leaf.parameter or leaf.key in self.names else None)
        return node

    def _leaf_name(self, leaf):
        if leaf.key in self.names:
            return self.names[leaf.key]
        tensor, module = leaf.tensor(), leaf.call and leaf.call.module()
        for key, value in vars(module).get("_parameters", {}).items() if module is not None else ():
            if value is tensor:
                return ".".join(part for part in (self._path(leaf.call), key) if part)
        return "parameter" if leaf.parameter else ""

    def _operation(self, op):
        kind, target, args = _target(op.function, self._value(op.args), self._path(op.call))
        node = self.graph.create_node(kind, target, args, self._value(op.kwargs))
        node.meta.update(self._meta(op), line=op.line, operation=operation_name(op.function))
        return node

    def _meta(self, source):
        calls = tuple(reversed(tuple(source.call or ())))
        _, shape, dtype = source.outputs[0]
        return {
            "calls": tuple((id(call), call.kind.__name__) for call in calls),
            "module": self._path(source.call),
            "module_class": calls[-1].kind.__name__ if calls else "",
            "shape": shape,
            "dtype": dtype,
            "grad": source.grad,
            "std": source.std,
        }

    def _value(self, value):
        if isinstance(value, Ref):
            return self._item(value)
        if isinstance(value, tuple):
            return tuple(self._value(item) for item in value)
        if isinstance(value, dict):
            return {key: self._value(item) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(self._value(value.start), self._value(value.stop), self._value(value.step))
        return value

    def _item(self, ref):
        """The node of one tensor of a (nested) result; the parts of a result are nodes of their own."""
        key = (id(ref.source), ref.path)
        if not ref.path:
            return self.nodes[id(ref.source)]
        if key not in self.items:
            whole = self._item(Ref(ref.source, ref.path[:-1]))
            part = self.graph.call_function(operator.getitem, (whole, ref.path[-1]))
            shape, dtype = next((s, d) for path, s, d in ref.source.outputs if path[: len(ref.path)] == ref.path)
            part.meta.update(whole.meta, operation="item", shape=shape, dtype=dtype)
            self.items[key] = part
        return self.items[key]

    def _path(self, call):
        module = call.module() if call is not None else None
        if module is None:
            return ""
        if id(module) not in self.modules:
            root = [each for each in call][-1].module()
            self._learn(root, type(root).__name__)
        return self.modules.get(id(module), type(module).__name__)

    def _learn(self, root, prefix):
        for path, module in root.named_modules() if root is not None else ():
            self.modules.setdefault(id(module), ".".join(part for part in (prefix, path) if part))


def _is_data(source, names):
    return isinstance(source, Leaf) and not source.parameter and source.key not in names


def operation_name(function):
    """torch's name of an operation without its spelling: `relu_`, `Tensor.relu` and `F.relu` are all "relu"."""
    name = getattr(function, "__name__", type(function).__name__)
    if name == "__get__":
        owner = function.__self__
        name = getattr(owner, "__name__", None) or owner.fget.__name__
    bare = name.strip("_")
    return bare[1:] if name.startswith("__") and bare in _SPELLINGS else bare


# In place, and reversed where the order does not matter: a - b, a / b and a ** b keep their reversed names.
_SPELLINGS = frozenset(
    "iadd isub imul itruediv ifloordiv imod ipow imatmul iand ior ixor radd rmul rand ror rxor".split()
)


def _target(function, args, path):
    if isinstance(function, type):
        return "call_module", path, args
    name = getattr(function, "__name__", "")
    if name == "__get__":
        return "call_function", getattr, (args[0], operation_name(function))
    if getattr(torch.Tensor, name, None) is function or isinstance(function, types.MethodDescriptorType):
        return "call_method", name, args
    return "call_function", function, args
