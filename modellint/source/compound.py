"""Syntax of statements that hold others to blocks: branchings, loops, contexts, exceptions."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from .code import Value
from .targets import assign
from .walker import Walker

MOST_NESTED = 20  # `elif` arms that are read as what they are, each in the `else` of the one before


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
