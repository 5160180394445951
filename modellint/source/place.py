"""Which loops of its function are around an event."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Function, Value
from .scope import Frame


def loops(frame: Frame, block: int, subject: Value | None = None) -> tuple[str, ...]:
    """The loops around a block, outermost first, without one that goes through several `subject`s."""
    heads = {part.name.partition(".")[0] for part in subject.within()} if subject is not None else set()
    function = frame.function
    around = [b for b in function.enclosing(block) if function.blocks[b].is_loop]
    return tuple(_loop_id(frame, b) for b in reversed(around) if heads.isdisjoint(_targets(function, b)))


def _loop_id(frame: Frame, block: int) -> str:
    return f"{frame.path}|{frame.script.path}|{frame.function.name}|{block}"


def _targets(function: Function, block: int) -> set[str]:
    """The names that a loop over values binds."""
    elements = (e for e in function.events if e.block == block and e.kind == "assign" and e.value is not None)
    return {e.name for e in elements if e.value is not None and any(v.kind == "element" for v in _bases(e.value))}


def _bases(value: Value) -> Iterator[Value]:
    current: Value | None = value
    while current is not None:
        yield current
        current = current.base
