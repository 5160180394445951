"""Graphs in a few words, for the examples of rules and for tests.

Keys of a line: `operation`, `weight` (the layer whose weight is applied), `bias` (a flag: it has one), `zero` (a flag: its
parameters are zero), `shape=4x8`, `std`, `low`, `high`, `dim`, `factors=a*b`, `class`, `constant` (a flag: no gradient),
`foreign`; any other is a setting of the operation. Of a parameter also `frozen`, `uncalled`, `reached` or `unreached`, and
`optimizer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modellint.core.diagnostic import Location

from .node import BOUNDED, LAYERS, Node, Parameter, Role

_OWN = frozenset("operation weight bias zero shape std low high dim factors class constant foreign".split())
_PARAMETER = "parameter"


def nodes(lines: Iterable[str]) -> tuple[Node, ...]:
    """One node a line; see `Graph.of`."""
    found: list[Node] = []
    for line in lines:
        head, arrow, sources = line.partition("<-")
        given = sources.replace(",", " ").split()
        if head.split()[0] != _PARAMETER:
            found.append(_node(head.split(), given if arrow else [node.name for node in found[-1:]]))
    return tuple(found)


def parameters(lines: Iterable[str]) -> tuple[Parameter, ...]:
    """Those of the layers, each once, and those of the lines of their own."""
    found: dict[str, Parameter] = {}
    for line in lines:
        role, name, *words = line.partition("<-")[0].split()
        options = _options(words)
        given = [name] if role == _PARAMETER else _names(Role(role), name, options)
        for each in given:
            found.setdefault(each, _parameter(each, options))
    return tuple(found.values())


def _node(words: list[str], inputs: list[str]) -> Node:
    role, name = Role(words[0]), words[1]
    options = _options(words[2:])
    operation = options.get("operation", name.rstrip("0123456789_"))
    fresh = role in (Role.INPUT, Role.CONSTANT)
    factors = tuple(options["factors"].split("*")) if "factors" in options else ()
    return Node(
        name=name,
        role=role,
        inputs=() if fresh else tuple(inputs),
        operation=operation,
        parameters=(*_names(role, name, options), *factors),
        factors=(factors,) if factors else (),
        shape=_shape(options.get("shape", "")),
        bounded=operation in BOUNDED or role in (Role.NORM, Role.SOFTMAX),
        gradient=not (fresh or "constant" in options),
        dim=int(options["dim"]) if "dim" in options else None,
        settings={key: _literal(value) for key, value in options.items() if key not in _OWN},
        std=_number(options, "std"),
        low=_number(options, "low"),
        high=_number(options, "high"),
        module_class=options.get("class", ""),
        foreign="foreign" in options,
        location=Location(module=name if role in LAYERS else None),
    )


def _parameter(name: str, options: Mapping[str, str]) -> Parameter:
    seen = "reached" in options or "unreached" in options
    return Parameter(
        name=name,
        shape=(1,) if name.endswith("bias") else (1, 1),
        requires_grad="frozen" not in options,
        zero="zero" in options,
        called="uncalled" not in options,
        optimizer=int(options["optimizer"]) if "optimizer" in options else None,
        reached="reached" in options if seen else None,
        foreign="foreign" in options,
        location=Location(module=name.rpartition(".")[0] or None),
    )


def _names(role: Role, name: str, options: Mapping[str, str]) -> Iterator[str]:
    if role in LAYERS or "weight" in options:
        owner = options.get("weight", name)
        yield f"{owner}.weight"
        if "bias" in options:
            yield f"{owner}.bias"


def _options(words: Iterable[str]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split("x") if size)


def _number(options: Mapping[str, str], name: str) -> float | None:
    return float(options[name]) if name in options else None


def _literal(text: str) -> Any:
    try:
        return {"True": True, "False": False}[text] if text in ("True", "False") else float(text)
    except ValueError:
        return text
