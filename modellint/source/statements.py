"""Syntax of statements to events and blocks: the dispatch table of the one traversal."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .code import Attribute, Class, Value
from .expressions import OPERATORS, assign, parameters, target_name, value, values
from .vocabulary import IN_PLACE
from .walker import Body, Walker

STATIC = ("staticmethod",)


def read(walker: Walker, statements: Iterable[ast.stmt]) -> None:
    for node in statements:
        reader = _READERS.get(type(node))
        if reader is not None:
            reader(walker, node)


def _expression(walker: Walker, node: ast.Expr) -> None:
    if not isinstance(node.value, ast.Constant):
        result = value(walker, node.value)
        _changed_in_place(walker, result)
        if result.kind in ("name", "attribute"):
            walker.emit("mention", result, walker.location(node))


def _changed_in_place(walker: Walker, call: Value) -> None:
    """`x.sigmoid_()` as a statement binds `x` anew."""
    head, _, method = call.name.rpartition(".")
    if call.kind == "call" and method in IN_PLACE and head in walker.body.bound:
        walker.bind(head, call, call.location)


def _assign(walker: Walker, node: ast.Assign) -> None:
    given = value(walker, node.value)
    for target in node.targets:
        assign(walker, target, given)


def _annotated(walker: Walker, node: ast.AnnAssign) -> None:
    if node.value is not None:
        assign(walker, node.target, value(walker, node.value))


def _augment(walker: Walker, node: ast.AugAssign) -> None:
    given, old = value(walker, node.value), value(walker, node.target)
    result = Value("operation", OPERATORS[type(node.op)], arguments=(old, given), location=walker.location(node))
    walker.emit("augment", result, walker.location(node), target_name(walker, node.target))


def _delete(walker: Walker, node: ast.Delete) -> None:
    for target in node.targets:
        walker.emit("delete", None, walker.location(node), target_name(walker, target))


def _return(walker: Walker, node: ast.Return) -> None:
    walker.emit("return", value(walker, node.value) if node.value else None, walker.location(node))


def _leave(walker: Walker, node: ast.stmt) -> None:
    walker.emit("leave", None, walker.location(node), type(node).__name__.lower())


def _raise(walker: Walker, node: ast.Raise) -> None:
    values(walker, [part for part in (node.exc, node.cause) if part])
    _leave(walker, node)


def _assert(walker: Walker, node: ast.Assert) -> None:
    value(walker, node.test)


def _if(walker: Walker, node: ast.If) -> None:
    test = value(walker, node.test)
    with walker.inside("if", test, location=walker.location(node)) as branch:
        read(walker, node.body)
    if node.orelse:
        with walker.inside("else", test, branch, walker.location(node)):
            read(walker, node.orelse)


def _for(walker: Walker, node: Any) -> None:
    iterable = value(walker, node.iter)
    with walker.inside("for", iterable, location=walker.location(node)):
        assign(walker, node.target, Value("element", base=iterable, location=iterable.location))
        read(walker, node.body)
    read(walker, node.orelse)


def _while(walker: Walker, node: ast.While) -> None:
    with walker.inside("while", value(walker, node.test), location=walker.location(node)):
        read(walker, node.body)
    read(walker, node.orelse)


def _with(walker: Walker, node: Any) -> None:
    _enter(walker, node, list(node.items))


def _enter(walker: Walker, node: Any, items: list[ast.withitem]) -> None:
    if not items:
        read(walker, node.body)
        return
    context = value(walker, items[0].context_expr)
    with walker.inside("with", context, location=walker.location(node)):
        if items[0].optional_vars is not None:
            assign(walker, items[0].optional_vars, Value("context", base=context, location=context.location))
        _enter(walker, node, items[1:])


def _try(walker: Walker, node: Any) -> None:
    with walker.inside("try", None, location=walker.location(node)) as branch:
        read(walker, node.body)
        read(walker, node.orelse)
    for handler in node.handlers:
        with walker.inside("except", None, branch, walker.location(handler)):
            if handler.name:
                walker.bind(handler.name, Value("unknown"), walker.location(handler))
            read(walker, handler.body)
    read(walker, node.finalbody)


def _match(walker: Walker, node: ast.Match) -> None:
    subject, first = value(walker, node.subject), None
    for case in node.cases:
        with walker.inside("case", subject, first, walker.location(node)) as branch:
            for pattern in ast.walk(case.pattern):
                name = getattr(pattern, "name", None) or getattr(pattern, "rest", None)
                if name:
                    walker.bind(name, Value("unknown"), walker.location(node))
            read(walker, case.body)
        first = branch if first is None else first


def _import(walker: Walker, node: ast.Import) -> None:
    for alias in node.names:
        name = alias.asname or alias.name.partition(".")[0]
        walker.imports[name] = alias.name if alias.asname else name


def _import_from(walker: Walker, node: ast.ImportFrom) -> None:
    """Relative imports keep their dots; names of a star import are kept under the module's own name."""
    start = "." * node.level + (f"{node.module}." if node.module else "")
    for alias in node.names:
        if alias.name == "*":
            walker.imports[f"*{start}"] = start.removesuffix(".") or "."
        else:
            walker.imports[alias.asname or alias.name] = start + alias.name


def _function(walker: Walker, node: Any) -> None:
    location, decorators = walker.location(node), values(walker, node.decorator_list)
    outer = walker.body
    owner = outer.name if outer.kind == "class" else None
    name = walker.qualified(node.name)
    parent = outer.parent if owner else outer.name  # names in a class body are not seen from its methods
    body = Body(name, "function", owner, parent, parameters(walker, node.args), decorators, location)
    body.bound.update(p.name.lstrip("*") for p in body.parameters)
    walker.bind(node.name, Value("function", name, location=location), location)
    if owner and body.parameters and not any(d.name in STATIC for d in decorators):
        body.receiver = body.parameters[0].name
    with walker.defining(body):
        read(walker, node.body)


def _class(walker: Walker, node: ast.ClassDef) -> None:
    location, name = walker.location(node), walker.qualified(node.name)
    values(walker, node.decorator_list)
    bases = values(walker, node.bases)
    values(walker, [keyword.value for keyword in node.keywords])
    walker.bind(node.name, Value("class", name, location=location), location)
    first = len(walker.functions)
    with walker.defining(Body(name, "class", parent=walker.body.name, location=location)):
        read(walker, node.body)
    walker.classes.append(Class(name, bases, tuple(_attributes(walker, name, first)), location))


def _attributes(walker: Walker, name: str, first: int) -> Iterator[Attribute]:
    for place, function in enumerate(walker.functions[first:], first):
        if function.owner == name or (function.kind == "class" and function.name == name):
            for index, event in enumerate(function.events):
                if event.kind == "assign" and (function.kind == "class" or event.name.startswith("self.")):
                    yield Attribute(event.name.removeprefix("self."), place, index)


_READERS: dict[type[ast.AST], Callable[[Walker, Any], None]] = {
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
    ast.If: _if,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.Match: _match,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
}
