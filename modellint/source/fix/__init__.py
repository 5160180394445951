"""Fixes to a new source text: the only home of LibCST, imported when a fix is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import libcst as cst

from modellint.core.diagnostic import Edit, Fix
from modellint.core.record import dataclass

from . import compiled, expressions, statements
from .change import Change, Rewriter
from .error import FixError, UnreadableError
from .text import Text
from .tree import Tree

EDITS: dict[str, Callable[[Tree, Edit], Change]] = {
    "move": statements.move,
    "delete": statements.delete,
    "insert": statements.insert,
    "restate": statements.restate,
    "wrap": statements.wrap,
    "replace": expressions.replace,
    "rename": expressions.rename,
    "argument": expressions.argument,
    "add": expressions.add,
    "swap": expressions.swap,
    "remove": expressions.remove,
}


@dataclass(frozen=True, slots=True)
class Applied:
    data: bytes
    made: tuple[int, ...]  # which of the fixes; those that overlap them wait
    refused: dict[int, str]  # which do not fit the source, and why


def apply(data: bytes, fixes: Sequence[Fix]) -> Applied:
    """`data` with as many of the fixes as go together, the first ones first.

    Raises UnreadableError for a file that cannot be rewritten at all, and FixError if together the fixes would lose a
    comment or give no Python.
    """
    source = Text.of(data)
    tree = Tree.of(source.content)
    taken: dict[int, list[Change]] = {}
    refused: dict[int, str] = {}
    for number, fix in enumerate(fixes):
        try:
            changes = [EDITS[edit.kind](tree, edit) for edit in fix.edits]
        except (FixError, cst.ParserSyntaxError, cst.CSTValidationError) as reason:
            refused[number] = str(reason)
            continue
        if not any(new.meets(old) for new in changes for others in taken.values() for old in others):
            taken[number] = changes
    if not taken:
        return Applied(data, (), refused)
    result = _rewritten(source, tree, [change for changes in taken.values() for change in changes])
    return Applied(result.encode(), tuple(taken), refused)


def _rewritten(source: Text, tree: Tree, changes: Sequence[Change]) -> Text:
    module = tree.module.visit(Rewriter(changes))
    result = Text(module.code, source.encoding)
    _require_compiled(source, result)
    if result.comments() != source.comments():
        raise FixError("a comment would be lost")
    return result


def _require_compiled(before: Text, after: Text) -> None:
    problem = compiled.problem(after.encode())
    if problem and not compiled.problem(before.encode()):
        raise FixError(f"the result does not compile ({problem})")


__all__ = ["Applied", "FixError", "Text", "UnreadableError", "apply"]
