"""Graphs in a few words, for the examples of rules and for tests."""

from __future__ import annotations

from collections.abc import Iterable

from modellint.core.diagnostic import Location

from .node import BOUNDED, LAYERS, Node, Role


def read(lines: Iterable[str]) -> tuple[Node, ...]:
    """One node a line; see `Graph.of`."""
    nodes: list[Node] = []
    for line in lines:
        head, arrow, sources = line.partition("<-")
        given = sources.replace(",", " ").split()
        nodes.append(_node(head.split(), given if arrow else [node.name for node in nodes[-1:]]))
    return tuple(nodes)


def _node(words: list[str], inputs: list[str]) -> Node:
    role, name = Role(words[0]), words[1]
    options = dict(word.split("=", 1) for word in words[2:])
    operation = options.get("operation", name.rstrip("0123456789_"))
    fresh = role in (Role.INPUT, Role.CONSTANT)
    return Node(
        name=name,
        role=role,
        inputs=() if fresh else tuple(inputs),
        operation=operation,
        parameters=(f"{options.get('weight', name)}.weight",) if role in LAYERS or "weight" in options else (),
        bounded=operation in BOUNDED or role in (Role.NORM, Role.SOFTMAX),
        gradient=not fresh,
        std=float(options["std"]) if "std" in options else None,
        location=Location(module=name if role in LAYERS else None),
    )
