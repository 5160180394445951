"""Where an event lies in its function: the arms of branchings and the loops around it."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Event, Function, Value
from .scope import Frame

Branches = tuple[tuple[str, str], ...]
OPPOSITE = {"if": "else", "else": "if"}
READABLE = ("name", "constant", "operation")


def arms(function: Function, block: int) -> Branches:
    """The arms of the branchings around a block, outermost first; branchings over the same plain test are the same one."""
    return tuple(reversed(list(_arms(function, block))))


def _arms(function: Function, block: int) -> Iterator[tuple[str, str]]:
    for index in function.enclosing(block):
        around = function.blocks[index]
        if around.kind in OPPOSITE and around.value is not None:
            test, arm = around.value, around.kind
            while test.kind == "operation" and test.name == "not":
                test, arm = test.arguments[0], OPPOSITE[arm]
            own = index if around.kind == "if" else around.sibling
            yield (str(test) if _readable(test) else f"{function.name}#{own}"), arm
        elif around.kind in ("case", "except"):
            yield f"{function.name}#{index if around.sibling is None else around.sibling}", f"{around.kind}#{index}"


def _readable(test: Value) -> bool:
    return all(part.kind in READABLE for part in test.within())


def loops(frame: Frame, block: int, subject: Value | None = None) -> tuple[str, ...]:
    """The loops around a block, outermost first, without one that goes through several `subject`s."""
    heads = {part.name.partition(".")[0] for part in subject.within()} if subject is not None else set()
    function = frame.function
    around = [b for b in function.enclosing(block) if function.blocks[b].kind in ("for", "while")]
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
