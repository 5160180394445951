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
            yield (str(test) if _readable(test) else f"{function.name}#{own}{_mark(test)}"), arm
        elif around.kind in ("case", "except"):
            yield f"{function.name}#{index if around.sibling is None else around.sibling}", f"{around.kind}#{index}"


def leaving(function: Function) -> list[tuple[int, int]]:
    """The arms that end by leaving what is around them, by block and by the event that leaves."""
    ends = [(event.block, at) for at, event in enumerate(function.events) if event.kind in ("leave", "return")]
    return [(block, at) for block, at in ends if function.blocks[block].kind in OPPOSITE]


def passed(function: Function, at: int, leaves: list[tuple[int, int]]) -> Branches:
    """The arms opposite to those that an event comes after and that end by leaving: `if skip: continue`."""
    around = set(function.enclosing(function.events[at].block))
    arms_left = [
        block for block, end in leaves if end < at and block not in around and _leads(function, block, end, around)
    ]
    return tuple(
        (test, OPPOSITE.get(arm, arm)) for block in arms_left for test, arm in list(_arms(function, block))[:1]
    )


def _leads(function: Function, block: int, end: int, around: set[int]) -> bool:
    """Whether the way into `around` leads past a block, and past what it leaves."""
    loop = next((b for b in function.enclosing(block) if function.blocks[b].kind in ("for", "while")), 0)
    left = function.events[end].kind == "return" or function.events[end].name == "raise" or loop in around
    return left and function.blocks[block].parent in around


def _mark(test: Value) -> str:
    """Tells that a test holds only every few times, also where it cannot be read as a whole."""
    return "%" if any(part.name == "%" for part in test.within()) else ""


def _readable(test: Value) -> bool:
    return all(part.kind in READABLE for part in test.within())


def is_training(function: Function, block: int) -> bool:
    """Whether a block of a module's method runs only in training mode."""
    return ("self.training", "if") in arms(function, block)


def is_not_evaluation(function: Function, block: int) -> bool:
    """Whether a block of a module's method may run in training mode."""
    return ("self.training", "else") not in arms(function, block)
