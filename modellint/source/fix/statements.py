"""Edits of whole statements: move, delete, insert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst

from modellint.core.diagnostic import Edit

from . import names, suite
from .change import Change, Inserted, Line, Point
from .error import FixError
from .suite import Node, Statement
from .template import fill
from .tree import Path, Tree


def move(tree: Tree, edit: Edit) -> Change:
    assert edit.other is not None
    target = suite.of(tree.path(edit.other))
    moved = _climbed(suite.of(tree.path(edit.place)), target)
    order = target.siblings()
    start, goal = order.index(moved.node), order.index(target.node)
    goal += edit.side == "after"
    crossed = order[goal:start] if goal <= start else order[start + 1 : goal]
    if not crossed:
        raise FixError("the statement stands there already")
    _require_free(tree, moved.node, crossed)
    inserted = Inserted(_as_line(moved), target.node, edit.side)
    _require_room(target, inserted.line)
    region = _region(tree, [moved.node, target.node, *crossed])
    return Change(region, (moved.path, target.path), removed=(moved.node,), inserted=(inserted,))


def _climbed(moved: Statement, target: Statement) -> Statement:
    """The statement, or the `if` around it that guards nothing else, in the suite of the target."""
    while moved.block is not target.block:
        guard = moved.around[-1] if moved.around else None
        if not isinstance(guard, cst.If) or guard.orelse is not None or len(moved.siblings()) > 1:
            raise FixError("the statements lie in different suites")
        moved = suite.of(moved.around)
        if moved.node is not guard:
            raise FixError("the statement lies in an `elif`")
    return moved


def _require_free(tree: Tree, moved: Node, crossed: Sequence[Node]) -> None:
    """Nothing that is crossed may leave the suite, or bind a name that means something in the moved statement."""
    code = tree.code(moved)
    for other in map(tree.code, crossed):
        if names.leaves(other) or names.leaves(code):
            raise FixError("a statement between may leave the loop")
        bound, read = names.binds(code), names.reads(code)
        name = names.confuse(read, names.binds(other)) or names.confuse(names.reads(other) | names.binds(other), bound)
        if name:
            raise FixError(f"a statement between has to do with `{name}`")


def _as_line(moved: Statement) -> Line:
    if isinstance(moved.line, cst.SimpleStatementLine) and len(moved.line.body) == 1:
        return moved.line
    if isinstance(moved.node, cst.BaseCompoundStatement):
        return moved.node
    return cst.SimpleStatementLine([moved.node.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)])


def _require_room(anchor: Statement, line: Line) -> None:
    if anchor.shares_line and not isinstance(line, cst.SimpleStatementLine):
        raise FixError("a compound statement does not fit into a line of several")


def _region(tree: Tree, nodes: Sequence[Node]) -> tuple[Point, Point]:
    extents = [tree.extent(node) for node in nodes]
    return min(start for start, _ in extents), max(end for _, end in extents)


def _line(tree: Tree, code: str) -> cst.SimpleStatementLine:
    try:
        config = tree.module.config_for_parsing
    except ValueError as error:  # a form feed
        raise FixError("the file is indented by more than spaces and tabs") from error
    line = cst.parse_statement(code, config=config)
    assert isinstance(line, cst.SimpleStatementLine)
    return line


def delete(tree: Tree, edit: Edit) -> Change:
    found = suite.of(tree.path(edit.place))
    return Change(tree.extent(found.node), (found.path,), removed=(found.node,))


def restate(tree: Tree, edit: Edit) -> Change:
    path = tree.path(edit.place)
    found = suite.of(path)
    if not isinstance(found.node, cst.Expr | cst.Assign):
        raise FixError("it is part of another statement")
    if found.node.value is not path[-1] or (isinstance(found.node, cst.Assign) and len(found.node.targets) > 1):
        raise FixError("it is part of another expression")
    line = _line(tree, fill(tree, path[-1], edit.text).code)
    new: cst.CSTNode = line.body[0].with_changes(semicolon=found.node.semicolon)
    return Change(tree.extent(found.node), (found.path,), replaced={found.node: new})


def wrap(tree: Tree, edit: Edit) -> Change:
    found = suite.of(tree.path(edit.place))
    line: Any = found.line
    if line is None or found.shares_line or names.yields(tree.code(found.node)):
        raise FixError("the statement cannot stand in a block of its own")
    item = cst.WithItem(cst.parse_expression(edit.text))
    indent = found.block.indent if isinstance(found.block, cst.IndentedBlock) else None
    body = cst.IndentedBlock([line.with_changes(leading_lines=())], indent=indent)
    block = cst.With([item], body, leading_lines=line.leading_lines)
    path = found.path[:-1] if line is not found.node else found.path
    return Change(_region(tree, [found.node]), (path,), replaced={line: block})


def insert(tree: Tree, edit: Edit) -> Change:
    assert edit.other is not None
    call = tree.path(edit.place)
    filled = fill(tree, call[-1], edit.text)
    if not all(names.is_pure(tree.code(part)) for part in filled.kept):
        raise FixError("to repeat what the call is made on could do more than to name it")
    line = _line(tree, filled.code)
    path = tree.path(edit.other)
    anchor = _first_in(path) if edit.side == "first in" else suite.within(suite.of(call).block, path)
    beside = suite.within(anchor.block, call)
    _require_same(tree, filled.code, anchor, beside, edit.side)
    inserted = Inserted(line, anchor.node, "after" if edit.side == "after" else "before", edit.side == "before")
    return Change(_region(tree, [anchor.node, beside.node]), (anchor.path,), inserted=(inserted,))


def _first_in(path: Path) -> Statement:
    loop = path[-1]
    if not isinstance(loop, cst.For | cst.While):
        raise FixError("it is no loop")
    assert isinstance(loop.body, cst.IndentedBlock | cst.SimpleStatementSuite)
    return suite.first(loop.body, path)


def _require_same(tree: Tree, code: str, anchor: Statement, beside: Statement, side: str) -> None:
    """Between the inserted statement and the one that it comes from, names stay what they are and nothing leaves."""
    order = anchor.siblings()
    ends = sorted((order.index(anchor.node) + (side == "after"), order.index(beside.node)))
    for other in map(tree.code, order[ends[0] : ends[1]]):
        name = names.confuse(names.reads(code), names.binds(other))
        if name or names.leaves(other):
            reason = f"has to do with `{name}`" if name else "may leave the loop"
            raise FixError(f"a statement between {reason}")
