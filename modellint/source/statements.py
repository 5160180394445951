"""Syntax of statements to events."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from . import compound
from .code import Value
from .expressions import OPERATORS
from .targets import assign, target_name
from .vocabulary import CONTEXTS, COPIES, IN_PLACE
from .walker import Walker

DROPPED = CONTEXTS | COPIES


def _expression(walker: Walker, node: ast.Expr) -> None:
    if isinstance(node.value, ast.BoolOp) and isinstance(node.value.op, ast.And):  # `rank == 0 and save(model)`
        *tests, done = node.value.values
        values = walker.values(tests)
        with walker.inside("if", Value("choice", "and", arguments=values, location=walker.location(node.value))):
            walker.value(done)
    elif not isinstance(node.value, ast.Constant):
        result = walker.value(node.value)
        _changed_in_place(walker, result)
        if result.kind in ("name", "attribute") or (result.kind == "call" and result.method in DROPPED):
            walker.emit("mention", result, walker.location(node))


def _changed_in_place(walker: Walker, call: Value) -> None:
    """`x.sigmoid_()` as a statement binds `x` anew."""
    head, _, method = call.name.rpartition(".")
    if call.kind == "call" and method in IN_PLACE and head in walker.body.bound:
        walker.bind(head, call, call.location)


def _assign(walker: Walker, node: ast.Assign) -> None:
    given = walker.value(node.value)
    for target in node.targets:
        assign(walker, target, given)


def _annotated(walker: Walker, node: ast.AnnAssign) -> None:
    if node.value is not None:
        assign(walker, node.target, walker.value(node.value))


def _augment(walker: Walker, node: ast.AugAssign) -> None:
    given, old = walker.value(node.value), walker.value(node.target)
    result = Value("operation", OPERATORS[type(node.op)], arguments=(old, given), location=walker.location(node))
    walker.emit("augment", result, walker.location(node), target_name(walker, node.target))


def _delete(walker: Walker, node: ast.Delete) -> None:
    for target in node.targets:
        walker.emit("delete", None, walker.location(node), target_name(walker, target))


def _return(walker: Walker, node: ast.Return) -> None:
    walker.emit("return", walker.value(node.value) if node.value else None, walker.location(node))


def _leave(walker: Walker, node: ast.stmt) -> None:
    walker.emit("leave", None, walker.location(node), type(node).__name__.lower())


def _raise(walker: Walker, node: ast.Raise) -> None:
    walker.values([part for part in (node.exc, node.cause) if part])
    _leave(walker, node)


def _global(walker: Walker, node: ast.Global) -> None:
    for name in node.names:
        walker.emit("global", None, walker.location(node), name)


def _assert(walker: Walker, node: ast.Assert) -> None:
    walker.value(node.test)


READERS: dict[type[ast.AST], Callable[[Walker, Any], None]] = {
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augment,
    ast.Delete: _delete,
    ast.Return: _return,
    ast.Break: _leave,
    ast.Continue: _leave,
    ast.Raise: _raise,
    ast.Assert: _assert,
    ast.Global: _global,
    **compound.READERS,
}
