"""A source in which each name that is bound is bound again and again, to what is computed from itself.

What follows a name to what it is bound to comes to no end there unless it counts its steps, and to 2 to the power of n
values where a name stands twice in what it is bound to.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping

Lines = Callable[[str, str, int], str]  # of a name, one that is derived from it, and the number of the step

KINDS: Mapping[str, Lines] = {
    "a method of itself": lambda x, _, i: f"{x} = {x}.clamp(0, {i})",
    "a call of itself": lambda x, _, i: f"{x} = f({x}, {x})",
    "a sum of itself": lambda x, _, i: f"{x} = {x} + {x}",
    "a product of itself": lambda x, _, i: f"{x} *= -{x}",
    "an item of itself": lambda x, _, i: f"{x} = {x}[{i}]",
    "a choice of itself": lambda x, _, i: f"{x} = {x}.relu() if c else {x}",
    "each other": lambda x, y, i: f"{y} = {x}.exp() - {x}\n{x} = {y}.log() - {y}",
    "a chain": lambda x, y, i: f"{y}_{i} = {f'{y}_{i - 1}' if i else x} * 2\n{x} = {y}_{i}",
    "arms": lambda x, _, i: f"if c{i}:\n    {x} = {x} - {x}",
    "loops": lambda x, _, i: f"for i{i} in range(9):\n    {x} = {x}.detach() * {x}",
    "functions of each other": lambda x, y, i: f"def {y}_f{i}(a):\n    return {y}_f{i + 1}({y}_f{i - 1 if i else 0}(a))\n"
    f"{x} = {y}_f{i}({x})",
}  # fmt: skip


def grown(text: str, kind: str, n: int) -> str:
    """The source with n more bindings of a kind behind each that it has; raises SyntaxError for what is no Python."""
    return ast.unparse(ast.fix_missing_locations(_Growing(KINDS[kind], n).visit(ast.parse(text))))


class _Growing(ast.NodeTransformer):
    def __init__(self, kind: Lines, n: int) -> None:
        self._kind = kind
        self._n = n

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt]:
        return [node, *(statement for target in node.targets for statement in self._behind(target))]

    def _behind(self, target: ast.expr) -> Iterator[ast.stmt]:
        if isinstance(target, (ast.Name, ast.Attribute)):
            name = ast.unparse(target)
            for step in range(self._n):
                yield from ast.parse(self._kind(name, f"{name.replace('.', '_')}_too", step)).body
