"""Which loops of its function are around an event, and the loops by their names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from modellint.core.diagnostic import Location

from .code import Block, Function, Value
from .project import Project
from .scope import Frame


def loops(frame: Frame, block: int, subject: Value | None = None) -> tuple[str, ...]:
    """The loops around a block, outermost first, without one that goes through several `subject`s."""
    heads = {part.name.partition(".")[0] for part in subject.within()} if subject is not None else set()
    function = frame.function
    around = [b for b in function.enclosing(block) if function.blocks[b].is_loop]
    return tuple(loop_id(frame, b) for b in reversed(around) if heads.isdisjoint(_targets(function, b)))


def loops_around(function: Function, at: int) -> list[int]:
    """The `for` and `while` around an event, innermost first."""
    return [b for b in function.enclosing(function.events[at].block) if function.blocks[b].kind in ("for", "while")]


def loop_id(frame: Frame, block: int) -> str:
    """Of two functions with one name the line tells which."""
    function = frame.function
    return "\0".join((frame.path, frame.script.path, function.name, str(function.location.line), str(block)))


def function_of(loop: str) -> str:
    return loop.split("\0")[2]


def block_of(loop: str, project: Project) -> Block:
    """The loop that an act names so."""
    _, path, name, line, block = loop.split("\0")
    named = (function for function in project.at([path])[0].functions if function.name == name)
    function = next((function for function in named if str(function.location.line) == line), None)
    return function.blocks[int(block)] if function else Block("for", -1, None, location=Location(path))


@lru_cache(1000)
def _targets(function: Function, block: int) -> set[str]:
    """The names that a loop over values binds."""
    elements = (e for e in function.events if e.block == block and e.kind == "assign" and e.value is not None)
    return {e.name for e in elements if e.value is not None and any(v.kind == "element" for v in _bases(e.value))}


def _bases(value: Value) -> Iterator[Value]:
    current: Value | None = value
    while current is not None:
        yield current
        current = current.base
