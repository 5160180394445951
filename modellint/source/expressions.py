"""Syntax of expressions to Values; the calls in them become events, in execution order."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

from .code import Parameter, Value
from .walker import Body, Walker

LONGEST_STRING = 200
PLAIN = (bool, int, float, str, type(None))
OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
    ast.Not: "not", ast.USub: "-", ast.UAdd: "+", ast.Invert: "~", ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<",
    ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


def value(walker: Walker, node: ast.expr) -> Value:
    return _READERS.get(type(node), _other)(walker, node)


def values(walker: Walker, nodes: Iterable[ast.expr]) -> tuple[Value, ...]:
    return tuple([value(walker, node) for node in nodes])


def dotted(walker: Walker, node: ast.expr) -> str | None:
    """`a.b.c` with `a` in full, None if the node is more than names and dots."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    walker.attributes.update(parts)
    parts.append(walker.full(node.id))
    return ".".join(reversed(parts))


def _constant(walker: Walker, node: ast.Constant) -> Value:
    constant = node.value
    if not isinstance(constant, PLAIN):
        return Value("unknown")
    if isinstance(constant, str):
        constant = constant[:LONGEST_STRING]
        walker.attributes.add(constant)
    return Value("constant", constant=constant, location=walker.location(node))


def _name(walker: Walker, node: ast.Name) -> Value:
    return Value("name", walker.full(node.id), location=walker.location(node))


def _attribute(walker: Walker, node: ast.Attribute) -> Value:
    name = dotted(walker, node)
    if name is not None:
        return Value("name", name, location=walker.location(node))
    walker.attributes.add(node.attr)
    return Value("attribute", node.attr, base=value(walker, node.value), location=walker.location(node))


def _call(walker: Walker, node: ast.Call) -> Value:
    name, base = dotted(walker, node.func), None
    if name is None and isinstance(node.func, ast.Attribute):
        walker.attributes.add(node.func.attr)
        name, base = node.func.attr, value(walker, node.func.value)
    elif name is None:
        name, base = "", value(walker, node.func)
    arguments = values(walker, node.args)
    keywords = tuple([(keyword.arg or "**", value(walker, keyword.value)) for keyword in node.keywords])
    call = Value("call", name, None, base, arguments, keywords, walker.location(node))
    walker.emit("call", call, call.location)
    return call


def _item(walker: Walker, node: ast.Subscript) -> Value:
    base = value(walker, node.value)
    return Value("item", base=base, arguments=(value(walker, node.slice),), location=walker.location(node))


def _binary(walker: Walker, node: ast.BinOp) -> Value:
    """A chain such as `a + b + c` is read without recursion: generated files hold thousands of terms."""
    chain: list[ast.BinOp] = []
    left: ast.expr = node
    while isinstance(left, ast.BinOp):
        chain.append(left)
        left = left.left
    result = value(walker, left)
    for link in reversed(chain):
        parts = (result, value(walker, link.right))
        result = Value("operation", OPERATORS[type(link.op)], arguments=parts, location=walker.location(link))
    return result


def _unary(walker: Walker, node: ast.UnaryOp) -> Value:
    operand, name = value(walker, node.operand), OPERATORS[type(node.op)]
    if name == "-" and isinstance(operand.constant, int | float):
        return Value("constant", constant=-operand.constant, location=walker.location(node))
    return Value("operation", name, arguments=(operand,), location=walker.location(node))


def _compare(walker: Walker, node: ast.Compare) -> Value:
    parts = values(walker, (node.left, *node.comparators))
    return Value("operation", OPERATORS[type(node.ops[0])], arguments=parts, location=walker.location(node))


def _boolean(walker: Walker, node: ast.BoolOp) -> Value:
    name = "or" if isinstance(node.op, ast.Or) else "and"
    return Value("choice", name, arguments=values(walker, node.values), location=walker.location(node))


def _conditional(walker: Walker, node: ast.IfExp) -> Value:
    test = value(walker, node.test)
    with walker.inside("if", test) as branch:
        chosen = value(walker, node.body)
    with walker.inside("else", test, branch):
        other = value(walker, node.orelse)
    return Value("choice", "if", base=test, arguments=(chosen, other), location=walker.location(node))


def _collection(walker: Walker, node: Any) -> Value:
    return Value(type(node).__name__.lower(), arguments=values(walker, node.elts), location=walker.location(node))


def _dict(walker: Walker, node: ast.Dict) -> Value:
    """Items with a constant key are keywords, all others arguments."""
    keywords, arguments = [], []
    for key, item in zip(node.keys, node.values, strict=True):
        read = value(walker, item)
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            walker.attributes.add(key.value)
            keywords.append((key.value, read))
        else:
            arguments.append(read)
    return Value("dict", arguments=tuple(arguments), keywords=tuple(keywords), location=walker.location(node))


def _comprehension(walker: Walker, node: Any) -> Value:
    iterable = value(walker, node.generators[0].iter)
    with walker.inside("comprehension", iterable, location=walker.location(node)):
        for generator in node.generators:
            inner = iterable if generator is node.generators[0] else value(walker, generator.iter)
            assign(walker, generator.target, Value("element", base=inner))
            values(walker, generator.ifs)
        parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        elements = values(walker, parts)
    return Value("comprehension", base=iterable, arguments=elements[-1:], location=walker.location(node))


def _lambda(walker: Walker, node: ast.Lambda) -> Value:
    location = walker.location(node)
    name = walker.qualified(f"<lambda {node.lineno}:{node.col_offset}>")
    body = Body(name, "lambda", parent=walker.body.name, parameters=parameters(walker, node.args), location=location)
    body.bound.update(p.name for p in body.parameters)
    with walker.defining(body):
        walker.emit("return", value(walker, node.body), location)
    return Value("function", name, location=location)


def _starred(walker: Walker, node: ast.Starred) -> Value:
    return Value("starred", base=value(walker, node.value), location=walker.location(node))


def _named(walker: Walker, node: ast.NamedExpr) -> Value:
    result = value(walker, node.value)
    assign(walker, node.target, result)
    return result


def _inner(walker: Walker, node: Any) -> Value:
    return value(walker, node.value) if node.value is not None else Value("constant")


def _other(walker: Walker, node: ast.expr) -> Value:
    """Slices, f-strings and the like: only the calls inside them matter."""
    parts = [value(walker, child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return Value("text" if isinstance(node, ast.JoinedStr) else "unknown", arguments=tuple(parts))


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
        return f"{dotted(walker, node.value) or target_name(walker, node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript):
        key = value(walker, node.slice)
        shown = key.constant if isinstance(key.constant, str | int) else ""
        return f"{target_name(walker, node.value)}[{shown}]"
    value(walker, node)
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
    annotation = dotted(walker, node.annotation) if node.annotation is not None else None
    return Parameter(node.arg, value(walker, default) if default is not None else None, annotation or "")


_READERS: dict[type[ast.AST], Callable[[Walker, Any], Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.Subscript: _item,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.BoolOp: _boolean,
    ast.IfExp: _conditional,
    ast.Tuple: _collection,
    ast.List: _collection,
    ast.Set: _collection,
    ast.Dict: _dict,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.Lambda: _lambda,
    ast.Starred: _starred,
    ast.NamedExpr: _named,
    ast.Await: _inner,
    ast.FormattedValue: _inner,
    ast.Yield: _inner,
    ast.YieldFrom: _inner,
}
