"""What assignments and parameters bind: the names in a target, each with the part of the value that is its own."""

from __future__ import annotations

import ast

from .code import Parameter, Value
from .walker import Walker


def assign(walker: Walker, target: ast.expr, given: Value) -> None:
    """Binds the names in `target`; a tuple takes its items apart."""
    if isinstance(target, ast.Starred):
        assign(walker, target.value, Value("unknown"))
    elif isinstance(target, ast.Tuple | ast.List):
        for index, part in enumerate(target.elts):
            assign(walker, part, _part(given, index, len(target.elts)))
    else:
        walker.bind(target_name(walker, target), given, walker.location(target))


def _part(given: Value, index: int, count: int) -> Value:
    if given.kind in ("tuple", "list") and len(given.arguments) == count and not given.unpacks:
        return given.arguments[index]
    return Value("item", base=given, arguments=(Value("constant", constant=index),), location=given.location)


def target_name(walker: Walker, node: ast.expr) -> str:
    """`self.x`, `group[lr]`, `nets[]`; names are as written, since the target is bound here."""
    if isinstance(node, ast.Name):
        return "self" if node.id == walker.body.receiver else node.id
    if isinstance(node, ast.Attribute):
        walker.attributes.add(node.attr)
        return f"{walker.dotted(node.value) or target_name(walker, node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript):
        key = walker.value(node.slice)
        shown = key.constant if isinstance(key.constant, str | int) else ""
        return f"{target_name(walker, node.value)}[{shown}]"
    walker.value(node)
    return "()"


def parameters(walker: Walker, node: ast.arguments) -> tuple[Parameter, ...]:
    """Parameters with their defaults; `*args` and `**kwargs` keep their stars."""
    positional = [*node.posonlyargs, *node.args]
    defaults = [None] * (len(positional) - len(node.defaults)) + list(node.defaults)
    plain = [_parameter(walker, a, d) for a, d in zip(positional, defaults, strict=True)]
    starred = [Parameter("*" + node.vararg.arg)] if node.vararg else []
    named = [_parameter(walker, a, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True)]
    return (*plain, *starred, *named, *([Parameter("**" + node.kwarg.arg)] if node.kwarg else []))


def _parameter(walker: Walker, node: ast.arg, default: ast.expr | None) -> Parameter:
    annotation = walker.dotted(node.annotation) if node.annotation is not None else None
    return Parameter(node.arg, walker.value(default) if default is not None else None, annotation or "")
