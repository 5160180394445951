"""The state of the one traversal: which file, function and block it is in, and the facts collected so far."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from modellint.core.diagnostic import Location

from .code import Block, Class, Event, Function, Parameter, Value

# What a file means by these names when it binds them nowhere (a snippet, or a star import).
CONVENTIONS = {"nn": "torch.nn", "F": "torch.nn.functional"}


@dataclass(slots=True)
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
    def __init__(self, path: str, column: Callable[[int, int], int], readers: Readers) -> None:
        self.path = path
        self.column = column
        self.readers = readers
        self.imports: dict[str, str] = {}
        self.attributes: set[str] = set()
        self.functions: list[Function] = []
        self.classes: list[Class] = []
        self.bodies: list[Body] = []

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
        return Value("text" if isinstance(node, ast.JoinedStr) else "unknown", arguments=tuple(parts))

    def dotted(self, node: ast.expr) -> str | None:
        """`a.b.c` with `a` in full, None if the node is more than names and dots."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        self.attributes.update(parts)
        parts.append(self.full(node.id))
        return ".".join(reversed(parts))

    @property
    def body(self) -> Body:
        return self.bodies[-1]

    def location(self, node: ast.expr | ast.stmt | ast.excepthandler) -> Location:
        end_line, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return Location(
            self.path, node.lineno, self.column(node.lineno, node.col_offset), end_line, self.column(end_line, end)
        )

    def emit(self, kind: str, value: Value | None, location: Location, name: str = "") -> None:
        self.body.events.append(Event(kind, name, value, self.body.block, location))

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

    @contextlib.contextmanager
    def inside(
        self, kind: str, value: Value | None, sibling: int | None = None, location: Location = Location()
    ) -> Iterator[int]:
        """A block around the events that follow; gives its index."""
        body, outer = self.body, self.body.block
        body.block = len(body.blocks)
        body.blocks.append(Block(kind, outer, value, sibling, location))
        yield body.block
        body.block = outer

    @contextlib.contextmanager
    def defining(self, body: Body) -> Iterator[None]:
        """The body of a function or class, which becomes a fact at its end; it keeps its place in reading order."""
        place = len(self.functions)
        self.bodies.append(body)
        self.functions.append(body.finished())
        yield
        self.functions[place] = self.bodies.pop().finished()

    def qualified(self, name: str) -> str:
        return f"{self.body.name}.{name}" if self.body.name else name
