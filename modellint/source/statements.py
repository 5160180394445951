"""Syntax of statements to events and blocks."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from .code import Value
from .expressions import OPERATORS
from .targets import assign, target_name
from .vocabulary import CONTEXTS, COPIES, IN_PLACE
from .walker import Walker

DROPPED = CONTEXTS | COPIES
MOST_NESTED = 20  # `elif` arms that are read as what they are, each in the `else` of the one before


def _expression(walker: Walker, node: ast.Expr) -> None:
    if not isinstance(node.value, ast.Constant):
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


def _if(walker: Walker, node: ast.If) -> None:
    if isinstance(node.test, ast.Constant):  # `if True`: the other arm is never executed
        walker.read(node.body if node.test.value else node.orelse)
        return
    arms = _arms(node)
    if len(arms) > MOST_NESTED:
        _side_by_side(walker, arms)
        return
    test = walker.value(node.test)
    with walker.inside("if", test, location=walker.location(node)) as branch:
        walker.read(node.body)
    if node.orelse:
        with walker.inside("else", test, branch, walker.location(node)):
            walker.read(node.orelse)


def _arms(node: ast.If) -> list[ast.If]:
    """The `if` and all `elif` behind it."""
    arms = [node]
    while len(arms[-1].orelse) == 1 and isinstance(arms[-1].orelse[0], ast.If):
        arms.append(arms[-1].orelse[0])
    return arms


def _side_by_side(walker: Walker, arms: list[ast.If]) -> None:
    """As the cases of a `match`: hundreds of arms, each in the one before, would cost the square of their number."""
    first = None
    for arm in arms:
        test = walker.value(arm.test)
        with walker.inside("case", test, first, walker.location(arm)) as branch:
            walker.read(arm.body)
        first = branch if first is None else first
    with walker.inside("case", None, first, walker.location(arms[-1])):
        walker.read(arms[-1].orelse)


def _for(walker: Walker, node: Any) -> None:
    iterable = walker.value(node.iter)
    with walker.inside("for", iterable, location=walker.location(node)):
        assign(walker, node.target, Value("element", base=iterable, location=iterable.location))
        walker.read(node.body)
    walker.read(node.orelse)


def _while(walker: Walker, node: ast.While) -> None:
    with walker.inside("while", walker.value(node.test), location=walker.location(node)):
        walker.read(node.body)
    walker.read(node.orelse)


def _with(walker: Walker, node: Any) -> None:
    _enter(walker, node, list(node.items))


def _enter(walker: Walker, node: Any, items: list[ast.withitem]) -> None:
    if not items:
        walker.read(node.body)
        return
    context = walker.value(items[0].context_expr)
    with walker.inside("with", context, location=walker.location(node)):
        if items[0].optional_vars is not None:
            assign(walker, items[0].optional_vars, Value("context", base=context, location=context.location))
        _enter(walker, node, items[1:])


def _try(walker: Walker, node: Any) -> None:
    with walker.inside("try", None, location=walker.location(node)) as branch:
        walker.read(node.body)
        walker.read(node.orelse)
    for handler in node.handlers:
        with walker.inside("except", None, branch, walker.location(handler)):
            if handler.name:
                walker.bind(handler.name, Value("unknown"), walker.location(handler))
            walker.read(handler.body)
    walker.read(node.finalbody)


def _match(walker: Walker, node: ast.Match) -> None:
    subject, first = walker.value(node.subject), None
    for case in node.cases:
        with walker.inside("case", subject, first, walker.location(node)) as branch:
            for pattern in ast.walk(case.pattern):
                name = getattr(pattern, "name", None) or getattr(pattern, "rest", None)
                if name:
                    walker.bind(name, Value("unknown"), walker.location(node))
            walker.read(case.body)
        first = branch if first is None else first


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
    ast.If: _if,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.Match: _match,
}
