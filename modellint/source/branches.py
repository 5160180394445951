"""Which arms of the branchings of its function an event lies in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from .code import Function, Value

Branches = tuple[tuple[str, str], ...]
OPPOSITE = {"if": "else", "else": "if"}
READABLE = ("name", "constant", "operation")
NOT = "not "
MOST_KNOWN = 20_000  # blocks whose arms are kept
DENIALS = {"is not": "is", "!=": "==", "not in": "in"}


@lru_cache(MOST_KNOWN)
def arms(function: Function, block: int) -> Branches:
    """The arms of the branchings around a block, outermost first; branchings over the same plain test are the same one."""
    parent = function.blocks[block].parent
    around = arms(function, parent) if parent >= 0 else ()
    own = tuple(_arms(function, block))
    return around + own[::-1] if own else around


def _arms(function: Function, block: int) -> Iterator[tuple[str, str]]:
    own = function.blocks[block]
    if own.kind in OPPOSITE and own.value is not None:
        yield from _of_block(function, block, own.kind)
    elif own.kind in ("case", "except"):
        yield f"{function.name}#{block if own.sibling is None else own.sibling}", f"{own.kind}#{block}"


def _of_block(function: Function, index: int, arm: str) -> Iterator[tuple[str, str]]:
    block = function.blocks[index]
    own = index if block.kind == "if" else block.sibling
    if block.value is not None:
        yield from _tested(block.value, arm, f"{function.name}#{own}{_mark(block.value)}")


def _tested(test: Value, arm: str, unreadable: str) -> Iterator[tuple[str, str]]:
    """The arm that a test leads to, and those of its parts where both of them, or neither, must hold."""
    while (positive := _denied(test)) is not None:
        test, arm = positive, OPPOSITE[arm]
    yield _name(test) or unreadable, arm
    if test.kind == "choice" and (test.name, arm) in (("and", "if"), ("or", "else")):
        for number, part in enumerate(test.arguments):
            yield from _tested(part, arm, f"{unreadable}.{number}")


def _denied(test: Value) -> Value | None:
    """What a negative test denies: `x` of `not x`, `x is None` of `x is not None`."""
    if test.kind == "operation" and test.name == "not":
        return test.arguments[0]
    positive = DENIALS.get(test.name) if test.kind == "operation" else None
    return Value("operation", positive, arguments=test.arguments, location=test.location) if positive else None


def _name(test: Value) -> str:
    """The test as it is written; empty if it holds calls, whose result may change."""
    if test.kind == "choice" and test.name in ("and", "or"):
        parts = [_name(part) for part in test.arguments]
        return f" {test.name} ".join(parts) if all(parts) else ""
    if (positive := _denied(test)) is not None:
        inner = _name(positive)
        return f"{NOT}{inner}" if inner else ""
    return str(test) if all(part.kind in READABLE for part in test.within()) else ""


@lru_cache(MOST_KNOWN)
def contradict(one: Branches, other: Branches) -> bool:
    """Whether no pass of the code goes through both arms."""
    first, second = dict(one), dict(other)
    opposite = any(second.get(test, arm) != arm for test, arm in one)
    return opposite or _refutes(first, second) or _refutes(second, first)


def _refutes(arms: dict[str, str], joined: dict[str, str]) -> bool:
    """Whether the parts of a test, each in an arm of its own, rule out the arm of the whole."""
    for test, arm in joined.items():
        for word, excluded, part_arm in ((" and ", "else", "if"), (" or ", "if", "else")):
            parts = test.split(word)
            if len(parts) > 1 and arm == excluded and all(_is_in(arms, part, part_arm) for part in parts):
                return True
    return False


def _is_in(arms: dict[str, str], part: str, arm: str) -> bool:
    if part.startswith(NOT):
        return arms.get(part.removeprefix(NOT)) == OPPOSITE[arm]
    return arms.get(part) == arm


@lru_cache(MOST_KNOWN)
def _leaving(function: Function) -> list[tuple[int, int]]:
    """The arms that end by leaving what is around them, by block and by the event that leaves."""
    ends = [(event.block, at) for at, event in enumerate(function.events) if event.kind in ("leave", "return")]
    return [(block, at) for block, at in ends if function.blocks[block].kind in OPPOSITE]


def passed(function: Function, at: int) -> Branches:
    """The arms opposite to those that an event comes after and that end by leaving: `if skip: continue`."""
    around = set(function.enclosing(function.events[at].block))
    leaves = ((block, end) for block, end in _leaving(function) if end < at and block not in around)
    arms_left = [block for block, end in leaves if _leads(function, block, end, around)]
    opposite = ((block, OPPOSITE[function.blocks[block].kind]) for block in arms_left)
    return tuple(found for block, arm in opposite for found in _of_block(function, block, arm))


def _leads(function: Function, block: int, end: int, around: set[int]) -> bool:
    """Whether the way into `around` leads past a block, and past what it leaves."""
    loop = next((b for b in function.enclosing(block) if function.blocks[b].kind in ("for", "while")), 0)
    left = function.events[end].kind == "return" or function.events[end].name == "raise" or loop in around
    return left and function.blocks[block].parent in around


def _mark(test: Value) -> str:
    """Tells that a test holds only every few times, also where it cannot be read as a whole."""
    return "%" if any(part.name == "%" for part in test.within()) else ""


def is_training(function: Function, block: int) -> bool:
    """Whether a block of a module's method runs only in training mode."""
    return ("self.training", "if") in arms(function, block)


def is_not_evaluation(function: Function, block: int) -> bool:
    """Whether a block of a module's method may run in training mode."""
    return ("self.training", "else") not in arms(function, block)


def asks_mode(function: Function) -> bool:
    """Whether a test asks for the mode of a model: `if self.training`."""
    return any(block.value is not None and "training" in str(block.value) for block in function.blocks)
