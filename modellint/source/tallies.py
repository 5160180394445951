"""Sums that are kept over the batches of a loader, and the counts that they are divided by."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

from modellint.core.pattern import pattern

from .code import Function, Value
from .script import Script

LOADER = pattern(r"loader|_dl\b|\bdl\b|batches", re.IGNORECASE)
WRAPS = ("enumerate", "tqdm", "iter", "track")


def loaders(script: Script) -> set[str]:
    """The names of the loaders that are made in the file."""
    events = (event for function in script.functions for event in function.events if event.kind == "assign")
    return {e.name for e in events if e.value is not None and e.value.kind == "call" and e.value.method == "DataLoader"}


def single(call: Value) -> bool:
    """Whether each batch of a loader holds one sample, so that one count is as good as the other."""
    size = call.argument(1, "batch_size")
    return (
        not call.unpacks and (size is None or size.constant in (1, None)) and (size is None or size.kind == "constant")
    )


def sums(function: Function, made: Container[str]) -> Iterator[tuple[str, str, Value]]:
    """The names to which something is added in a loop over a loader, with the loader's name and what is added."""
    for event in function.events:
        if event.kind == "augment" and event.value is not None and event.value.name == "+":
            loops = [function.blocks[b] for b in function.enclosing(event.block) if function.blocks[b].kind == "for"]
            over = _bare(loops[0].value) if loops and loops[0].value is not None else ""
            if over in made or (LOADER.search(over) and not over.endswith("dataset")):
                yield event.name, over, event.value.arguments[1]


def divisions(function: Function) -> Iterator[tuple[Value, Value]]:
    """What is divided by a `len()`, and by nothing else, with that of which it is the length."""
    lengths = {e.name: e.value for e in function.events if e.kind == "assign" and _measured(e.value) is not None}
    seen = set[int]()
    for event in function.events:
        parts = list(event.value.within()) if event.value is not None else []
        operations = [part for part in parts if part.kind == "operation" and part.name == "/"]
        again = {id(inner) for part in operations for inner in part.arguments[0].within()}
        for part in operations:
            measured = _measured(lengths.get(part.arguments[1].name, part.arguments[1]))
            if measured is not None and not {id(part)} <= again | seen:
                seen.add(id(part))
                yield part, measured


def _measured(value: Value | None) -> Value | None:
    length = value is not None and value.kind == "call" and value.name == "len" and len(value.arguments) == 1
    return value.arguments[0] if value is not None and length else None


def _bare(value: Value) -> str:
    while value.kind == "call" and value.method in WRAPS and value.arguments:
        value = value.arguments[0]
    return str(value) if value.kind == "name" else ""
