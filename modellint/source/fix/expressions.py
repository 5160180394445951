"""Edits inside a statement: replace an expression, rename a function, name, add, swap or remove arguments."""

from __future__ import annotations

from typing import Any

import libcst as cst

from modellint.core.diagnostic import Edit

from . import destination, names
from .change import Change
from .error import FixError
from .template import dropped, fill
from .tree import Path, Tree

TIGHT = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def replace(tree: Tree, edit: Edit) -> Change:
    path = tree.path(edit.place)
    filled = fill(tree, path[-1], edit.text)
    for lost in dropped(path[-1], filled.kept):
        if not names.is_pure(tree.code(lost)):
            raise FixError("what would be dropped may do more than to give a value")
    if edit.other is not None:
        path = destination.only_use(tree, path, tree.path(edit.other), filled, monotone=bool(edit.name))
    return _replaced(tree, path, _expression(filled.code, path))


def _expression(code: str, path: Path) -> cst.BaseExpression:
    """The code in the place of the last node of `path`, in parentheses where it needs them there."""
    whole = isinstance(path[-2], cst.Assign | cst.AnnAssign) and "\n" not in code
    free = whole or isinstance(path[-2], cst.Arg | cst.DictElement) or names.is_atom(code)
    return cst.parse_expression(code if free and ":=" not in code else f"({code})")


def _replaced(tree: Tree, path: Path, new: cst.CSTNode) -> Change:
    return Change(tree.extent(path[-1]), (path,), replaced={path[-1]: new})


def rename(tree: Tree, edit: Edit) -> Change:
    path = tree.path(edit.place)
    function = _call(path).func
    if "." in edit.text:
        return _replaced(tree, (*path, function), cst.parse_expression(edit.text))
    if not isinstance(function, cst.Attribute):
        raise FixError("the function is imported by its name")
    return _replaced(tree, (*path, function, function.attr), cst.Name(edit.text))


def argument(tree: Tree, edit: Edit) -> Change:
    path = tree.path(edit.place)
    given, call = path[-2], _call(path[:-2])
    if not isinstance(given, cst.Arg) or given.star:
        raise FixError("it is no argument that can be read")
    later = call.args[call.args.index(given) + 1 :]
    if not given.keyword and any(not a.keyword and a.star != "**" for a in later):
        raise FixError("a positional argument follows")
    _require_new(call, edit.name)
    value = cst.parse_expression(edit.text) if edit.text else given.value
    named = given.with_changes(keyword=cst.Name(edit.name), equal=given.equal if given.keyword else TIGHT, value=value)
    return _replaced(tree, path[:-1], named)


def add(tree: Tree, edit: Edit) -> Change:
    path = tree.path(edit.place)
    call = _call(path)
    _require_new(call, edit.name)
    filled = fill(tree, call, edit.text)
    if not all(isinstance(part, cst.Name) for part in filled.kept):
        raise FixError("what would be computed twice may do more than to give a value")
    new = cst.Arg(cst.parse_expression(filled.code), keyword=cst.Name(edit.name), equal=TIGHT)
    if not call.args:
        return _replaced(tree, path, call.with_changes(args=[new]))
    *before, last = call.args
    between = before[-1].comma if before else cst.Comma(whitespace_after=_gap(call))
    new = new.with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
    last = last.with_changes(comma=between, whitespace_after_arg=cst.SimpleWhitespace(""))
    return _replaced(tree, path, call.with_changes(args=[*before, last, new]))


def _gap(call: cst.Call) -> cst.BaseParenthesizableWhitespace:
    alone = isinstance(call.whitespace_before_args, cst.ParenthesizedWhitespace)
    return call.whitespace_before_args if alone else cst.SimpleWhitespace(" ")


def _require_new(call: cst.Call, name: str) -> None:
    if any(a.star or (a.keyword is not None and a.keyword.value == name) for a in call.args):
        raise FixError(f"`{name}` is or may be among the arguments")


def swap(tree: Tree, edit: Edit) -> Change:
    assert edit.other is not None
    one, other = tree.path(edit.place), tree.path(edit.other)
    if one[:-2] != other[:-2] or not all(isinstance(p[-2], cst.Arg) and not p[-2].star for p in (one, other)):
        raise FixError("they are not two arguments of one call")
    extents = sorted((tree.extent(one[-1]), tree.extent(other[-1])))
    return Change((extents[0][0], extents[1][1]), (one, other), replaced={one[-1]: other[-1], other[-1]: one[-1]})


def remove(tree: Tree, edit: Edit) -> Change:
    path = tree.path(edit.place)
    item, holder = path[-2], path[-3]
    field = "args" if isinstance(holder, cst.Call) else "elements"
    if not isinstance(item, cst.Arg | cst.Element) or not isinstance(holder, cst.Call | cst.List | cst.Tuple):
        raise FixError("it is no item of a call, list or tuple")
    items: list[Any] = list(getattr(holder, field))
    place = items.index(item)
    if len(items) == 1 or (isinstance(holder, cst.Tuple) and len(items) == 2):
        raise FixError("it is the only one")
    if place == len(items) - 1:
        ending: dict[str, Any] = {"comma": item.comma}
        ending |= {"whitespace_after_arg": item.whitespace_after_arg} if isinstance(item, cst.Arg) else {}
        items[-2] = items[-2].with_changes(**ending)
    del items[place]
    return _replaced(tree, path[:-2], holder.with_changes(**{field: items}))


def _call(path: Path) -> cst.Call:
    if not isinstance(path[-1], cst.Call):
        raise FixError("it is no call")
    return path[-1]
