"""Whether a source compiles."""

from __future__ import annotations

import ast
import warnings


def problem(data: bytes) -> str:
    """Why Python does not compile it; empty if it does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(_WithoutFinally().visit(ast.parse(data)), "<fixed>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return str(error) or type(error).__name__
    return ""


class _WithoutFinally(ast.NodeTransformer):
    """The compiler writes each `finally` twice: two dozen of them within each other would take it hours."""

    def visit_Try(self, node: ast.Try) -> list[ast.stmt]:
        self.generic_visit(node)
        last, node.finalbody = node.finalbody, []
        return [*((node,) if node.handlers else node.body), *last]
