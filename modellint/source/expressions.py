"""Syntax of expressions to Values; the calls in them become events, in execution order."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from .code import Value
from .targets import assign
from .walker import Walker

LONGEST_STRING = 200
PLAIN = (bool, int, float, str, type(None))
OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
    ast.Not: "not", ast.USub: "-", ast.UAdd: "+", ast.Invert: "~", ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<",
    ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


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
    name = walker.dotted(node)
    if name is not None:
        return Value("name", name, location=walker.location(node))
    walker.attributes.add(node.attr)
    return Value("attribute", node.attr, base=walker.value(node.value), location=walker.location(node))


def _call(walker: Walker, node: ast.Call) -> Value:
    name, base = walker.dotted(node.func), None
    if name is None and isinstance(node.func, ast.Attribute):
        walker.attributes.add(node.func.attr)
        name, base = node.func.attr, walker.value(node.func.value)
    elif name is None:
        name, base = "", walker.value(node.func)
    arguments = walker.values(node.args)
    keywords = tuple([(keyword.arg or "**", walker.value(keyword.value)) for keyword in node.keywords])
    call = Value("call", name, None, base, arguments, keywords, walker.location(node))
    walker.called.add(call.method)
    walker.emit("call", call, call.location)
    return call


def _item(walker: Walker, node: ast.Subscript) -> Value:
    base = walker.value(node.value)
    return Value("item", base=base, arguments=(walker.value(node.slice),), location=walker.location(node))


def _binary(walker: Walker, node: ast.BinOp) -> Value:
    """A chain such as `a + b + c` is read without recursion: generated files hold thousands of terms."""
    chain: list[ast.BinOp] = []
    left: ast.expr = node
    while isinstance(left, ast.BinOp):
        chain.append(left)
        left = left.left
    result = walker.value(left)
    for link in reversed(chain):
        parts = (result, walker.value(link.right))
        result = Value("operation", OPERATORS[type(link.op)], arguments=parts, location=walker.location(link))
    return result


def _unary(walker: Walker, node: ast.UnaryOp) -> Value:
    operand, name = walker.value(node.operand), OPERATORS[type(node.op)]
    if name == "-" and isinstance(operand.constant, int | float):
        return Value("constant", constant=-operand.constant, location=walker.location(node))
    return Value("operation", name, arguments=(operand,), location=walker.location(node))


def _compare(walker: Walker, node: ast.Compare) -> Value:
    parts = walker.values((node.left, *node.comparators))
    return Value("operation", OPERATORS[type(node.ops[0])], arguments=parts, location=walker.location(node))


def _boolean(walker: Walker, node: ast.BoolOp) -> Value:
    name = "or" if isinstance(node.op, ast.Or) else "and"
    return Value("choice", name, arguments=walker.values(node.values), location=walker.location(node))


def _conditional(walker: Walker, node: ast.IfExp) -> Value:
    test = walker.value(node.test)
    with walker.inside("if", test) as branch:
        chosen = walker.value(node.body)
    with walker.inside("else", test, branch):
        other = walker.value(node.orelse)
    return Value("choice", "if", base=test, arguments=(chosen, other), location=walker.location(node))


def _starred(walker: Walker, node: ast.Starred) -> Value:
    return Value("starred", base=walker.value(node.value), location=walker.location(node))


def _named(walker: Walker, node: ast.NamedExpr) -> Value:
    result = walker.value(node.value)
    assign(walker, node.target, result)
    return result


def _inner(walker: Walker, node: Any) -> Value:
    return walker.value(node.value) if node.value is not None else Value("constant")


def _yield(walker: Walker, node: Any) -> Value:
    given = _inner(walker, node)
    walker.emit("yield", given, walker.location(node))
    return Value("unknown")


READERS: dict[type[ast.AST], Callable[[Walker, Any], Value]] = {
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
    ast.Starred: _starred,
    ast.NamedExpr: _named,
    ast.Await: _inner,
    ast.FormattedValue: _inner,
    ast.Yield: _yield,
    ast.YieldFrom: _yield,
}
