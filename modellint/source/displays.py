"""Syntax of collections, comprehensions and lambdas to Values."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from .code import Value
from .targets import assign, parameters
from .walker import Body, Walker


def _collection(walker: Walker, node: Any) -> Value:
    return Value(type(node).__name__.lower(), arguments=walker.values(node.elts), location=walker.location(node))


def _dict(walker: Walker, node: ast.Dict) -> Value:
    """Items with a constant key are keywords, all others arguments."""
    keywords, arguments = [], []
    for key, item in zip(node.keys, node.values, strict=True):
        read = walker.value(item)
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            walker.attributes.add(key.value)
            keywords.append((key.value, read))
        else:
            arguments.append(read)
    return Value("dict", arguments=tuple(arguments), keywords=tuple(keywords), location=walker.location(node))


def _comprehension(walker: Walker, node: Any) -> Value:
    iterable = walker.value(node.generators[0].iter)
    with walker.inside("comprehension", iterable, location=walker.location(node)):
        for generator in node.generators:
            inner = iterable if generator is node.generators[0] else walker.value(generator.iter)
            assign(walker, generator.target, Value("element", base=inner))
            walker.values(generator.ifs)
        parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        elements = walker.values(parts)
    keyed = "dict" if isinstance(node, ast.DictComp) else ""
    return Value("comprehension", keyed, base=iterable, arguments=elements[-1:], location=walker.location(node))


def _lambda(walker: Walker, node: ast.Lambda) -> Value:
    location = walker.location(node)
    name = walker.qualified(f"<lambda {node.lineno}:{node.col_offset}>")
    body = Body(name, "lambda", parent=walker.body.name, parameters=parameters(walker, node.args), location=location)
    body.bound.update(p.name for p in body.parameters)
    with walker.defining(body):
        walker.emit("return", walker.value(node.body), location)
    return Value("function", name, location=location)


READERS: dict[type[ast.AST], Callable[[Walker, Any], Value]] = {
    ast.Tuple: _collection,
    ast.List: _collection,
    ast.Set: _collection,
    ast.Dict: _dict,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.Lambda: _lambda,
}
