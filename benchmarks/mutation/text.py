"""A source file and edits of its text that keep everything else as it is."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
BLOCKS = ("body", "orelse", "finalbody")


@dataclass(frozen=True)
class Edit:
    """Bytes `start` to `end` give way to `text`."""

    start: int
    end: int
    text: bytes


@dataclass(frozen=True)
class Mutant:
    fault: str
    line: int
    edits: tuple[Edit, ...]


class Source:
    def __init__(self, data: bytes, losses: dict[str, str]) -> None:
        """`losses`: what the losses of the project compute that this file does not make itself."""
        self.data = data
        self.tree = ast.parse(data)
        self.nodes = list(ast.walk(self.tree))
        self.project_losses = losses
        self._starts = [0]
        for line in data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around one, innermost first."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def scope(self, node: ast.AST) -> Scope:
        return next(n for n in self.above(node) if isinstance(n, Scope))

    def statement(self, node: ast.AST) -> ast.stmt:
        return node if isinstance(node, ast.stmt) else next(n for n in self.above(node) if isinstance(n, ast.stmt))

    def siblings(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements of its block, itself among them."""
        parent = self.parents[statement]
        blocks = (getattr(parent, name, None) for name in BLOCKS)
        return next((block for block in blocks if isinstance(block, list) and statement in block), [statement])

    def loops(self, node: ast.AST) -> list[ast.For | ast.While]:
        """The loops around it within its function, innermost first."""
        scope = self.scope(node)
        return [n for n in self.above(node) if isinstance(n, ast.For | ast.While) and self.scope(n) is scope]

    def within(self, scope: ast.AST) -> str:
        return self.text(scope) if not isinstance(scope, ast.Module) else self.data.decode(errors="replace")

    # of text

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        assert isinstance(node, ast.expr | ast.stmt)
        return self.data[self.start(node) : self.end(node)].decode(errors="replace")

    # edits

    def replace(self, node: ast.expr | ast.stmt, text: str) -> Edit:
        return Edit(self.start(node), self.end(node), text.encode())

    def rename(self, call: ast.Attribute, name: str) -> Edit:
        return Edit(self.end(call) - len(call.attr.encode()), self.end(call), name.encode())

    def remove(self, *statements: ast.stmt) -> list[Edit]:
        """Without these statements of a block; `pass` is left where nothing else is."""
        edits = []
        for statement in statements:
            alone = all(other in statements for other in self.siblings(statement))
            shared = any(s.lineno == statement.lineno for s in self.siblings(statement) if s is not statement)
            if alone or shared:
                edits.append(self.replace(statement, "pass"))
            else:
                first, last = self._starts[statement.lineno - 1], self._starts[statement.end_lineno or 0]
                edits.append(Edit(first, last, b""))
        return edits

    def line(self, at: ast.stmt, text: str, *, after: bool = False) -> Edit:
        """A statement of its own before (or after) another one, indented like it."""
        offset = self._starts[(at.end_lineno or 0) if after else at.lineno - 1]
        gap = "" if self.data[:offset].endswith(b"\n") else "\n"
        return Edit(offset, offset, (gap + self._indented(text, at.col_offset) + "\n").encode())

    def move(self, statement: ast.stmt, to: ast.stmt, *, after: bool = False) -> list[Edit]:
        return [*self.remove(statement), self.line(to, self._left(statement), after=after)]

    def _left(self, statement: ast.stmt) -> str:
        """The text of a statement as if it began the line."""
        first, *rest = self.text(statement).split("\n")
        cut = statement.col_offset
        return "\n".join([first, *(line[cut:] if not line[:cut].strip() else line for line in rest)])

    @staticmethod
    def _indented(text: str, by: int) -> str:
        return "\n".join(" " * by + line if line else line for line in text.split("\n"))

    def unwrap(self, block: ast.With) -> list[Edit]:
        """The statements of a `with` in its place."""
        first, last = self._starts[block.lineno - 1], self._starts[block.end_lineno or 0]
        body = self.data[self._starts[block.body[0].lineno - 1] : last].decode(errors="replace").split("\n")
        less = block.body[0].col_offset - block.col_offset
        lines = [line[less:] if not line[:less].strip() else line for line in body]
        return [Edit(first, last, "\n".join(lines).encode())]

    def unmark(self, decorator: ast.expr) -> Edit:
        """Without the line of a decorator."""
        return Edit(self._starts[decorator.lineno - 1], self._starts[decorator.lineno], b"")


def edited(data: bytes, edits: Iterable[Edit]) -> bytes | None:
    """The text with the edits, or None if that is no longer Python."""
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        data = data[: edit.start] + edit.text + data[edit.end :]
    try:
        ast.parse(data)
    except SyntaxError:
        return None
    return data


Found = Iterator[tuple[ast.expr | ast.stmt, list[Edit]]]  # where each fault is, and the edits that make it
FAULTS: dict[str, tuple[frozenset[str], Callable[[Source], Found]]] = {}


def fault(name: str, rules: str) -> Callable[[Callable[[Source], Found]], Callable[[Source], Found]]:
    """A kind of fault, and the rules that name it."""

    def keep(write: Callable[[Source], Found]) -> Callable[[Source], Found]:
        FAULTS[name] = frozenset(rules.split()), write
        return write

    return keep


def mutants(source: Source) -> Iterator[Mutant]:
    for name, (_, write) in FAULTS.items():
        for at, edits in write(source):
            yield Mutant(name, at.lineno, tuple(edits))
