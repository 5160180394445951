"""A source text as LibCST's tree, in which places are found."""

from __future__ import annotations

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass

from .error import FixError, UnreadableError

Path = tuple[cst.CSTNode, ...]  # a node with all that is around it, outermost first


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    module: cst.Module
    ranges: dict[cst.CSTNode, CodeRange]

    @classmethod
    def of(cls, text: str) -> Tree:
        """Raises UnreadableError for a text that LibCST cannot read or would not give back unchanged."""
        try:
            module = cst.parse_module(text)
            ranges = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
        except cst.ParserSyntaxError as error:
            raise UnreadableError(f"LibCST cannot parse the file ({error.message}, line {error.raw_line})") from error
        except Exception as error:  # what it promises is a ParserSyntaxError; it has other ways to fail
            raise UnreadableError(f"LibCST cannot read the file ({type(error).__name__}: {error})") from error
        if module.code != text:
            raise UnreadableError("LibCST does not give the file back unchanged")
        return cls(module, dict(ranges))

    def path(self, place: Location) -> Path:
        """The way to the innermost expression or statement that is written exactly at the place."""
        if place.line is None or place.column is None or place.end_line is None or place.end_column is None:
            raise FixError("the finding has no exact place")
        wanted = (place.line, place.column - 1), (place.end_line, place.end_column - 1)
        found = self._descend((self.module,), *wanted)
        if found is None:
            raise FixError(f"LibCST sees nothing of this extent in line {place.line}")
        return found

    def _descend(self, path: Path, start: tuple[int, int], end: tuple[int, int]) -> Path | None:
        for child in path[-1].children:
            if self._may_hold(child, start, end):
                found = self._descend((*path, child), start, end)
                if found is not None:
                    return found
        exact = isinstance(path[-1], cst.BaseExpression | cst.BaseStatement | cst.BaseSmallStatement)
        return path if exact and self.extent(path[-1]) == (start, end) else None

    def _may_hold(self, node: cst.CSTNode, start: tuple[int, int], end: tuple[int, int]) -> bool:
        """The range of a compound statement leaves out its decorators and its `else`."""
        if node not in self.ranges:
            return False
        first, last = self.extent(node)
        decorated = isinstance(node, cst.FunctionDef | cst.ClassDef)
        return (first <= start or decorated) and (end <= last or isinstance(node, cst.BaseCompoundStatement | cst.Else))

    def extent(self, node: cst.CSTNode) -> tuple[tuple[int, int], tuple[int, int]]:
        """(line from 1, column from 0) of the first character and of the one behind the last."""
        first, last = self.ranges[node].start, self.ranges[node].end
        return (first.line, first.column), (last.line, last.column)

    def code(self, node: cst.CSTNode) -> str:
        return self.module.code_for_node(node)
