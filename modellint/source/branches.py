"""Which arms of the branchings of its function an event lies in."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Function, Value

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


def is_training(function: Function, block: int) -> bool:
    """Whether a block of a module's method runs only in training mode."""
    return ("self.training", "if") in arms(function, block)


def is_not_evaluation(function: Function, block: int) -> bool:
    """Whether a block of a module's method may run in training mode."""
    return ("self.training", "else") not in arms(function, block)
