"""Whether of a value only the place of the largest is asked for: a softmax before it changes nothing of that."""

from __future__ import annotations

import libcst as cst

from .error import FixError
from .template import part
from .tree import Path, Tree

KEEPS = frozenset({"data", "detach", "cpu"})  # what the values are still the same after
CLASSES = ("1", "-1")  # the axis of a loss of classes


def asks(tree: Tree, path: Path) -> bool:
    """Of the last node of `path`: `x.argmax(1)`, `torch.max(x.data, 1)[1]`, `_, best = x.max(dim=1)`."""
    at = _call(path)
    call = path[at]
    if not isinstance(call, cst.Call) or at == 0:
        return False
    method = _name(call.func)
    if method not in ("argmax", "max", "topk"):
        return False
    first = 0 if path[at + 1] is call.func else 1
    position = first + (method == "topk")
    try:
        axis = tree.code(part(call, f"{position}|dim|axis"))
    except FixError:
        return method == "topk" and _is_place(path[at - 1])  # over the last axis
    return axis in CLASSES and (method == "argmax" or _is_place(path[at - 1]))


def _call(path: Path) -> int:
    """Where the way to the first call is that does more than hand the value on; 0 where something else is done with it."""
    for at in range(len(path) - 2, 0, -1):
        node, inner = path[at], path[at + 1]
        if isinstance(node, cst.Call):
            method = inner is node.func
            if not (method and _name(node.func) in KEEPS):
                return at if method or inner is node.args[0] else 0
        elif not isinstance(node, cst.Attribute | cst.Arg) or _is_read(node, path[at - 1]):
            return 0
    return 0


def _is_read(node: cst.CSTNode, around: cst.CSTNode) -> bool:
    """Whether it is an attribute that is no method, and no other name of the same values."""
    called = isinstance(around, cst.Call) and around.func is node
    return isinstance(node, cst.Attribute) and not called and node.attr.value not in KEEPS


def _is_place(around: cst.CSTNode) -> bool:
    """Whether of the largest values and their places only the places are taken."""
    if isinstance(around, cst.Subscript) and len(around.slice) == 1:
        index = around.slice[0].slice
        return isinstance(index, cst.Index) and isinstance(index.value, cst.Integer) and index.value.value == "1"
    if isinstance(around, cst.Attribute):
        return around.attr.value == "indices"
    if isinstance(around, cst.Assign) and len(around.targets) == 1:
        target = around.targets[0].target
        first = target.elements[0].value if isinstance(target, cst.Tuple) and target.elements else None
        return isinstance(first, cst.Name) and first.value == "_"
    return False


def _name(function: cst.BaseExpression) -> str:
    named = function.attr if isinstance(function, cst.Attribute) else function
    return named.value if isinstance(named, cst.Name) else ""
