"""The state of the one traversal: which file, function and block it is in, and the facts collected so far."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from sys import intern
from typing import Any, cast

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass, field

from .code import Block, Class, Event, Function, Parameter, Value

# What a file means by these names when it binds them nowhere (a snippet, or a star import).
CONVENTIONS = {"nn": "torch.nn", "F": "torch.nn.functional"}


@dataclass(slots=True, eq=False)
class Body:
    """A Function while it is being read."""

    name: str
    kind: str
    owner: str | None = None
    parent: str | None = None
    parameters: tuple[Parameter, ...] = ()
    decorators: tuple[Value, ...] = ()
    location: Location = Location()
    events: list[Event] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=lambda: [Block("body", -1, None)])
    block: int = 0
    bound: set[str] = field(default_factory=set)
    receiver: str = ""  # what the method calls its instance

    def finished(self) -> Function:
        facts = (self.parameters, self.decorators, tuple(self.events), tuple(self.blocks), self.location)
        return Function(self.name, self.kind, self.owner, self.parent, *facts)


Readers = Mapping[type[ast.AST], Callable[["Walker", Any], object]]


class Walker:
    """`wide` are the lines that hold characters of more than one byte, by their numbers."""

    def __init__(self, path: str, wide: Mapping[int, bytes], readers: Readers) -> None:
        self.path = path
        self.wide = wide
        self.readers = readers
        self.imports: dict[str, str] = {}
        self.attributes: set[str] = set()
        self.called: set[str] = set()
        self.line = 0  # the last one that was read
        self.functions: list[Function] = []
        self.classes: list[Class] = []
        self.bodies: list[Body] = []
        self.body = Body("", "module")  # the innermost of the bodies

    def read(self, statements: Iterable[ast.stmt]) -> None:
        for node in statements:
            reader = self.readers.get(type(node))
            if reader is not None:
                reader(self, node)

    def value(self, node: ast.expr) -> Value:
        reader = self.readers.get(type(node))
        return self._parts(node) if reader is None else cast(Value, reader(self, node))

    def values(self, nodes: Iterable[ast.expr]) -> tuple[Value, ...]:
        return tuple([self.value(node) for node in nodes])

    def _parts(self, node: ast.expr) -> Value:
        """Slices, f-strings and the like: only the calls inside them matter."""
        parts = [self.value(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        name = f"{'_' * bool(node.lower)}:{'_' * bool(node.upper)}" if isinstance(node, ast.Slice) else ""
        return Value("text" if isinstance(node, ast.JoinedStr) else "unknown", name, arguments=tuple(parts))

    def dotted(self, node: ast.expr) -> str | None:
        """`a.b.c` with `a` in full, None if the node is more than names and dots."""
        if type(node) is ast.Name:
            return self.full(node.id)
        parts = []
        while type(node) is ast.Attribute:
            parts.append(node.attr)
            node = node.value
        if type(node) is not ast.Name:
            return None
        self.attributes.update(parts)
        parts.append(self.full(node.id))
        return intern(".".join(reversed(parts)))

    def location(self, node: ast.expr | ast.stmt | ast.excepthandler) -> Location:
        line, end_line = node.lineno, node.end_lineno or node.lineno
        if line == self.line:
            line = self.line  # one number for all that is written there: the parser makes one for each
        else:
            self.line = line
        if end_line == line:
            end_line = line
        column, end = node.col_offset + 1, (node.end_col_offset or node.col_offset) + 1
        if line in self.wide:
            column = _shown(column, self.wide[line])
        if end_line in self.wide:
            end = _shown(end, self.wide[end_line])
        return Location(self.path, line, column, end_line, end)

    def emit(self, kind: str, value: Value | None, location: Location, name: str = "") -> None:
        body = self.body
        body.events.append(Event(kind, name, value, body.block, location))

    def bind(self, name: str, value: Value, location: Location) -> None:
        self.body.bound.add(name)
        self.emit("assign", value, location, name)

    def full(self, head: str) -> str:
        """The first part of a dotted name as the file means it: `self` for a method's instance, imports in full."""
        for body in reversed(self.bodies):
            if body.receiver == head:
                return "self"
            if head in body.bound and (body.kind != "module" or head not in self.imports):
                return head
        return self.imports.get(head) or CONVENTIONS.get(head, head)

    def inside(
        self, kind: str, value: Value | None, sibling: int | None = None, location: Location = Location()
    ) -> Inside:
        """A block around the events that follow; gives its index."""
        return Inside(self.body, Block(kind, self.body.block, value, sibling, location))

    def defining(self, body: Body) -> Defining:
        """The body of a function or class, which becomes a fact at its end; it keeps its place in reading order."""
        return Defining(self, body)

    def qualified(self, name: str) -> str:
        return f"{self.body.name}.{name}" if self.body.name else name


def _shown(column: int, text: bytes) -> int:
    """From bytes, in which the parser counts, to characters, which an editor shows."""
    return len(text[: column - 1].decode(errors="replace")) + 1


class Inside:
    """A context that costs less than a generator; files hold a hundred thousand blocks."""

    __slots__ = ("block", "body")

    def __init__(self, body: Body, block: Block) -> None:
        self.body = body
        self.block = block

    def __enter__(self) -> int:
        self.body.block = len(self.body.blocks)
        self.body.blocks.append(self.block)
        return self.body.block

    def __exit__(self, *_: object) -> None:
        self.body.block = self.block.parent


class Defining:
    __slots__ = ("body", "place", "walker")

    def __init__(self, walker: Walker, body: Body) -> None:
        self.walker = walker
        self.body = body
        self.place = len(walker.functions)

    def __enter__(self) -> None:
        self.walker.bodies.append(self.body)
        self.walker.body = self.body
        self.walker.functions.append(self.body.finished())

    def __exit__(self, *_: object) -> None:
        bodies = self.walker.bodies
        self.walker.functions[self.place] = bodies.pop().finished()
        self.walker.body = bodies[-1] if bodies else self.body
