"""Statements in their suites, one after the other: those of a line `a(); b()` and of `for x in y: a()` too."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from modellint.core.record import dataclass

from .error import FixError
from .tree import Path

Node = cst.BaseSmallStatement | cst.BaseCompoundStatement
Block = cst.Module | cst.IndentedBlock | cst.SimpleStatementSuite
BLOCKS = (cst.Module, cst.IndentedBlock, cst.SimpleStatementSuite)


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    node: Node
    line: cst.BaseStatement | None  # the line or compound statement; None in `for x in y: a(); b()`
    block: Block
    around: Path  # what is around the block

    @property
    def shares_line(self) -> bool:
        return self.line is None or (isinstance(self.line, cst.SimpleStatementLine) and len(self.line.body) > 1)

    @property
    def path(self) -> Path:
        within = (self.line,) if self.line is not None and self.line is not self.node else ()
        return (*self.around, self.block, *within, self.node)

    def siblings(self) -> list[Node]:
        return list(statements(self.block))


def holding(path: Path) -> Iterator[Statement]:
    """The statements that hold the last node of `path`, innermost first; an `elif` belongs to its `if`."""
    for i in range(len(path) - 1, 0, -1):
        node, outer = path[i], path[i - 1]
        if isinstance(node, cst.BaseCompoundStatement) and isinstance(outer, cst.Module | cst.IndentedBlock):
            yield Statement(node, node, outer, path[: i - 1])
        elif isinstance(node, cst.BaseSmallStatement) and isinstance(outer, cst.SimpleStatementSuite):
            yield Statement(node, None, outer, path[: i - 1])
        elif isinstance(node, cst.BaseSmallStatement) and isinstance(outer, cst.SimpleStatementLine):
            block = path[i - 2]
            assert isinstance(block, BLOCKS)
            yield Statement(node, outer, block, path[: i - 2])


def of(path: Path) -> Statement:
    found = next(holding(path), None)
    if found is None:
        raise FixError("it is no part of a statement")
    return found


def within(block: Block, path: Path) -> Statement:
    """The statement of `block` that holds the last node of `path`."""
    found = next((statement for statement in holding(path) if statement.block is block), None)
    if found is None:
        raise FixError("the statements lie in different suites")
    return found


def statements(block: Block) -> Iterator[Node]:
    for line in block.body:
        if isinstance(line, cst.SimpleStatementLine):
            yield from line.body
        else:
            assert isinstance(line, cst.BaseSmallStatement | cst.BaseCompoundStatement)
            yield line


def first(block: Block, around: Path) -> Statement:
    line = block.body[0]
    if isinstance(line, cst.SimpleStatementLine):
        return Statement(line.body[0], line, block, around)
    if isinstance(line, cst.BaseCompoundStatement):
        return Statement(line, line, block, around)
    assert isinstance(line, cst.BaseSmallStatement)
    return Statement(line, None, block, around)
