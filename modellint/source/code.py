"""What is written in a source file, as plain values: functions, the events in them, the expressions; no syntax nodes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from modellint.core.diagnostic import Location
from modellint.core.effort import TooMuchError, effort
from modellint.core.record import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """An expression.

    `kind` is one of:
    "constant" (`constant`), "name" (`name` is dotted: `x`, `self.opt`, `torch.nn.Linear`), "attribute" (`base`.`name`),
    "call" (`name` is the dotted callee; if that is not dotted, `base` and the method's `name`), "item" (`base`[`arguments`]),
    "element" (what a loop over `base` yields), "context" (what `with base` yields), "operation" (`name` is the operator),
    "choice" (`a if c else b`, `a or b`: `arguments` are the alternatives), "tuple", "list", "set", "dict" (constant keys in
    `keywords`), "comprehension" (`arguments` is the element, `name` "dict" if it has keys),
    "starred", "text", "function" (`name` is a Function),
    "unknown" (of a slice `name` tells which ends are written: "_:", ":_", "_:_").
    Dotted names are written with the imported name in full: `nn.Linear` reads `torch.nn.Linear`.
    """

    kind: str
    name: str = ""
    constant: bool | int | float | str | None = None
    base: Value | None = None
    arguments: tuple[Value, ...] = ()
    keywords: tuple[tuple[str, Value], ...] = ()
    location: Location = Location()
    method: str = field(init=False)  # the last part of the name: `step` of `self.opt.step`

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", _last(self.name))

    @property
    def receiver(self) -> Value | None:
        """What a method is called on: `self.opt` of `self.opt.step()`."""
        _spend()
        if self.base is not None:
            return self.base
        head = self.name.rpartition(".")[0]
        return Value("name", head, location=self.location) if head else None

    def argument(self, position: int | None, keyword: str = "") -> Value | None:
        """The argument given by `keyword`, else by `position`; None if there is none, or unpacking hides its position."""
        for name, value in self.keywords:
            if name == keyword:
                return value
        if position is None or any(a.kind == "starred" for a in self.arguments[: position + 1]):
            return None
        return self.arguments[position] if position < len(self.arguments) else None

    @property
    def number(self) -> float | None:
        """A constant that is a number, and no truth value."""
        constant = self.constant
        return float(constant) if isinstance(constant, int | float) and not isinstance(constant, bool) else None

    @property
    def unpacks(self) -> bool:
        """Whether `*args` or `**kwargs` may hold arguments that cannot be read."""
        return any(name == "**" for name, _ in self.keywords) or any(a.kind == "starred" for a in self.arguments)

    def __str__(self) -> str:
        """Near to how it is written; for messages, and to tell names apart."""
        several = self.kind == "item" and self.arguments[0].kind == "tuple"
        parts = self.arguments[0].arguments if several else self.arguments
        inside = [str(part) for part in parts] + [f"{name}={value}" for name, value in self.keywords]
        if self.kind == "constant":
            return repr(self.constant)
        if self.kind in ("name", "function", "class"):
            return self.name
        if self.kind == "unknown" and ":" in self.name:
            ends = iter(inside)
            return ":".join(next(ends, "") if end else "" for end in self.name.split(":"))
        if self.kind == "operation" and len(inside) > 1:
            return f" {self.name} ".join(inside)
        if self.kind in ("call", "attribute"):
            callee = ".".join(part for part in (str(self.base or ""), self.name) if part)
            return f"{callee}({', '.join(inside)})" if self.kind == "call" else callee
        return f"{self.base or self.name}[{', '.join(inside)}]"

    def within(self) -> Iterator[Value]:
        """This value and all values inside it."""
        _spend()
        waiting = [self]
        while waiting:
            value = waiting.pop()
            yield value
            if value.keywords:
                waiting += [part for _, part in reversed(value.keywords)]
            if value.arguments:
                waiting += reversed(value.arguments)
            if value.base is not None:
                waiting.append(value.base)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a function does: "call", "assign" (`name` is the target), "augment", "delete", "return", "yield", "leave",
    "mention" (a name alone as a statement, or a call that only gives something back), "global" (`name` is that of the module).

    Events are in execution order: the calls inside an expression come before the statement that uses them.
    Targets are dotted, with `[]` for items: `self.x`, `group[lr]`, `nets[]`.
    """

    kind: str
    name: str
    value: Value | None
    block: int
    location: Location


@dataclass(frozen=True, slots=True)
class Block:
    """What encloses events: "body" (index 0), "for", "while", "if", "else", "with", "try", "except", "case", "comprehension".

    `value` is the test, the iterable, the context; `sibling` is the index of the `if` of an "else" and of the `try` of an "except".
    """

    kind: str
    parent: int
    value: Value | None
    sibling: int | None = None
    location: Location = Location()

    @property
    def is_loop(self) -> bool:
        return self.kind in ("for", "while", "comprehension")


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    default: Value | None = None
    annotation: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function, a lambda, or the body of a module (`name` is "") or class; `name` is dotted: `Net.forward`, `main.closure`."""

    name: str
    kind: str = "function"  # or "module", "class", "lambda"
    owner: str | None = None  # the class
    parent: str | None = None  # the enclosing function
    parameters: tuple[Parameter, ...] = ()
    decorators: tuple[Value, ...] = ()
    events: tuple[Event, ...] = ()
    blocks: tuple[Block, ...] = ()
    location: Location = Location()
    calls: tuple[Value, ...] = field(init=False)
    _values: tuple[Value, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        calls = [event.value for event in self.events if event.kind == "call" and event.value is not None]
        object.__setattr__(self, "calls", tuple(calls))
        object.__setattr__(self, "_values", None)

    @property
    def values(self) -> tuple[Value, ...]:
        """All that is written in it, each whole before its parts; collected once, as many rules ask for it."""
        if self._values is None:
            found = [part for event in self.events if event.value is not None for part in event.value.within()]
            object.__setattr__(self, "_values", tuple(found))
        return self._values or ()

    def inside(self, block: int) -> Iterator[tuple[int, Event]]:
        """The events in a block and in those within it, with their indices."""
        later = range(block + 1, len(self.blocks))
        end = next((index for index in later if self.blocks[index].parent < block), len(self.blocks))
        return ((at, event) for at, event in enumerate(self.events) if block <= event.block < end)

    def enclosing(self, block: int) -> Iterator[int]:
        """The block and those around it, innermost first."""
        while block >= 0:
            yield block
            block = self.blocks[block].parent


@dataclass(frozen=True, slots=True)
class Attribute:
    """An assignment to `self.NAME` in a method or to a name in a class body: which event of which of the file's functions."""

    name: str
    function: int
    event: int


@dataclass(frozen=True, slots=True)
class Class:
    name: str
    bases: tuple[Value, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    location: Location = Location()


def _spend() -> None:
    effort.left -= 1
    if effort.left < 0:
        raise TooMuchError


@cache
def _last(name: str) -> str:
    return name.rpartition(".")[2]
