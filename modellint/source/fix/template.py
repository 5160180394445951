"""Code with holes: `{receiver}.zero_grad()` filled with the parts of a call as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from modellint.core.record import dataclass

from . import names
from .error import FixError
from .tree import Tree

HOLE = re.compile(r"\{([\w|]+)\}")


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    code: str
    kept: tuple[cst.CSTNode, ...]  # the parts that it holds


def fill(tree: Tree, of: cst.CSTNode, text: str) -> Filled:
    parts = {hole: part(of, hole) for hole in HOLE.findall(text)}

    def written(hole: re.Match[str]) -> str:
        code = tree.code(parts[hole.group(1)])
        before, after = text[: hole.start()].rstrip(), text[hole.end() :].lstrip()
        enclosed = before[-1:] in ("", "(", ",") and after[:1] in ("", ")", ",")
        return code if enclosed or names.is_atom(code) else f"({code})"

    return Filled(HOLE.sub(written, text), tuple(parts.values()))


def part(of: cst.CSTNode, hole: str) -> cst.BaseExpression:
    """Raises FixError where the call has no such part, or unpacked arguments hide it."""
    if hole == "whole" and isinstance(of, cst.BaseExpression):
        return of
    if isinstance(of, cst.UnaryOperation) and hole == "0":
        return of.expression
    if not isinstance(of, cst.Call):
        raise FixError("it is no call")
    if hole == "receiver":
        if not isinstance(of.func, cst.Attribute):
            raise FixError("the function is not called on an object")
        return of.func.value
    for name in hole.split("|"):
        found = _positional(of, int(name)) if name.isdigit() else _keyword(of, name)
        if found is not None:
            return found
    raise FixError("the call is not given the argument in a way that can be read")


def _positional(call: cst.Call, position: int) -> cst.BaseExpression | None:
    given = call.args[: position + 1]
    plain = len(given) > position and not any(a.star or a.keyword for a in given)
    return given[position].value if plain else None


def _keyword(call: cst.Call, name: str) -> cst.BaseExpression | None:
    return next((a.value for a in call.args if a.keyword is not None and a.keyword.value == name), None)


def dropped(of: cst.CSTNode, kept: tuple[cst.CSTNode, ...]) -> Iterator[cst.BaseExpression]:
    """The values that get lost when only `kept` remains of a call; that the function itself may go, the rule knows."""
    if of in kept or (isinstance(of, cst.UnaryOperation) and of.expression in kept):
        return
    if not isinstance(of, cst.Call):
        if isinstance(of, cst.BaseExpression):
            yield of
        return
    if isinstance(of.func, cst.Attribute) and of.func.value not in kept:
        yield of.func.value
    if isinstance(of.func, cst.Call):  # `nn.Softmax(dim=1)(x)`
        yield from (argument.value for argument in of.func.args)
    yield from (argument.value for argument in of.args if argument.value not in kept)
