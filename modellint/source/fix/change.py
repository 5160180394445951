"""What edits do to the tree, as values that are collected first and carried out in one traversal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import libcst as cst

from modellint.core.record import dataclass, field

from . import suite
from .tree import Path

Point = tuple[int, int]
Line = cst.SimpleStatementLine | cst.BaseCompoundStatement


@dataclass(frozen=True, slots=True, eq=False)
class Inserted:
    line: Line
    anchor: suite.Node
    side: str  # "before" or "after"
    under_comments: bool = False  # of the anchor


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    region: tuple[Point, Point]  # changes whose regions meet are not made together
    paths: tuple[Path, ...]  # to the nodes that are changed
    replaced: dict[cst.CSTNode, cst.CSTNode] = field(default_factory=dict)
    removed: tuple[suite.Node, ...] = ()
    inserted: tuple[Inserted, ...] = ()

    def meets(self, other: Change) -> bool:
        return self.region[0] < other.region[1] and other.region[0] < self.region[1]


class Rewriter(cst.CSTTransformer):
    def __init__(self, changes: Sequence[Change]) -> None:
        super().__init__()
        self.touched = {node for change in changes for path in change.paths for node in path}
        self.replaced = {old: new for change in changes for old, new in change.replaced.items()}
        self.removed = {node for change in changes for node in change.removed}
        self.inserted = [insertion for change in changes for insertion in change.inserted]

    def on_visit(self, node: cst.CSTNode) -> bool:
        return node in self.touched

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        if original_node in self.replaced:
            return self.replaced[original_node]
        if original_node not in self.touched:
            return updated_node
        if isinstance(original_node, cst.SimpleStatementSuite):
            body = self._small(original_node.body, updated_node.body) or [cst.Pass()]
        elif isinstance(original_node, cst.Module | cst.IndentedBlock):
            body = list(self._lines(original_node.body, updated_node.body)) or [cst.SimpleStatementLine([cst.Pass()])]
        else:
            return updated_node
        return updated_node.with_changes(body=body)

    def _lines(self, before: Sequence[Any], after: Sequence[Any]) -> Iterator[Any]:
        for old, new in zip(before, after, strict=True):
            if isinstance(old, cst.SimpleStatementLine) and len(old.body) > 1:
                body = self._small(old.body, new.body)
                yield from [new.with_changes(body=body)] if body else []
                continue
            node = old.body[0] if isinstance(old, cst.SimpleStatementLine) else old
            for insertion in self._beside(node, "before"):
                if insertion.under_comments:
                    yield insertion.line.with_changes(leading_lines=new.leading_lines)
                    new = new.with_changes(leading_lines=())
                else:
                    yield insertion.line
            yield from () if node in self.removed else (new,)
            yield from (insertion.line for insertion in self._beside(node, "after"))

    def _small(self, before: Sequence[Any], after: Sequence[Any]) -> list[Any]:
        """The statements of one line; what is inserted there is small too."""
        body: list[Any] = []
        for old, new in zip(before, after, strict=True):
            body += [part for insertion in self._beside(old, "before") for part in _parts(insertion)]
            body += [] if old in self.removed else [new]
            body += [part for insertion in self._beside(old, "after") for part in _parts(insertion)]
        if body and body[-1] is not after[-1]:
            body[-1] = body[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        return body

    def _beside(self, node: suite.Node, side: str) -> Iterator[Inserted]:
        return (inserted for inserted in self.inserted if inserted.anchor is node and inserted.side == side)


def _parts(insertion: Inserted) -> Sequence[cst.BaseSmallStatement]:
    assert isinstance(insertion.line, cst.SimpleStatementLine)
    return insertion.line.body
