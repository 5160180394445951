"""Syntax of imports, functions and classes to facts."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from .code import Attribute, Class, Value
from .targets import parameters
from .walker import Body, Walker

STATIC = ("staticmethod",)


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
    location, decorators = walker.location(node), walker.values(node.decorator_list)
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
        walker.read(node.body)


def _class(walker: Walker, node: ast.ClassDef) -> None:
    location, name = walker.location(node), walker.qualified(node.name)
    walker.values(node.decorator_list)
    bases = walker.values(node.bases)
    walker.values([keyword.value for keyword in node.keywords])
    walker.bind(node.name, Value("class", name, location=location), location)
    first = len(walker.functions)
    with walker.defining(Body(name, "class", parent=walker.body.name, location=location)):
        walker.read(node.body)
    walker.classes.append(Class(name, bases, tuple(_attributes(walker, name, first)), location))


def _attributes(walker: Walker, name: str, first: int) -> Iterator[Attribute]:
    for place, function in enumerate(walker.functions[first:], first):
        if function.owner == name or (function.kind == "class" and function.name == name):
            for index, event in enumerate(function.events):
                if event.kind == "assign" and (function.kind == "class" or event.name.startswith("self.")):
                    yield Attribute(event.name.removeprefix("self."), place, index)


READERS: dict[type[ast.AST], Callable[[Walker, Any], None]] = {
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
}
