"""Where the value of an expression goes: whether only one call uses it, directly or through one variable."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from . import largest, names, suite
from .error import FixError
from .template import Filled
from .tree import Path, Tree


def only_use(tree: Tree, made: Path, user: Path, new: Filled, *, monotone: bool) -> Path:
    """What to replace by `new` so that the call `user`, and nothing else, is given it instead of what is made.

    That is the expression itself, or, where a variable that holds it is read elsewhere too, the variable in the call. For
    what is `monotone` it is the expression also where others ask for the largest value alone.
    """
    if user[-1] in made:
        _require_chain(made[made.index(user[-1]) + 2 : -1])  # the argument, and what is around it
        return made
    target = _variable(made)
    scope = _scope(made)
    if scope is not _scope(user):
        raise FixError("it is made in another function than it is used in")
    read, bound = names.uses(tree.code(scope), target.value)
    inside, _ = names.uses(tree.code(user[-1]), target.value)
    if bound != 1 or inside != 1:
        raise FixError(f"`{target.value}` is bound or used more than once")
    if read == 1:
        return made
    try:
        _require_stable(tree, made, user, new)
    except FixError:
        others = (path for path in _reads(made[: made.index(scope) + 1], target.value) if target not in path)
        fresh = not names.is_pure(new.code)  # another name for something may change with it
        if monotone and fresh and all(user[-1] in path or largest.asks(tree, path) for path in others):
            return made
        raise
    return next(_reads(user, target.value))


def _require_chain(between: Path) -> None:
    """Around the expression there are only methods, attributes and items of it."""
    if not all(isinstance(node, cst.Call | cst.Attribute | cst.Subscript) for node in between):
        raise FixError("it is part of another expression")


def _variable(made: Path) -> cst.Name:
    """The one name that is assigned the expression, or a method's result of it."""
    statement = suite.of(made)
    assigned = statement.node
    if not isinstance(assigned, cst.Assign) or len(assigned.targets) != 1:
        raise FixError("its value is not simply assigned")
    target = assigned.targets[0].target
    if not isinstance(target, cst.Name):
        raise FixError("its value is not simply assigned")
    _require_chain(made[made.index(assigned) + 1 : -1])
    return target


def _scope(path: Path) -> cst.CSTNode:
    inner = (node for node in reversed(path[:-1]) if isinstance(node, cst.FunctionDef | cst.Lambda | cst.ClassDef))
    return next(inner, path[0])


def _require_stable(tree: Tree, made: Path, user: Path, new: Filled) -> None:
    """What the variable was made from can be named at the call in its stead, and is still the same there."""
    statement = suite.of(made)
    assert isinstance(statement.node, cst.Assign)
    if made[-1] is not statement.node.value or not names.is_pure(new.code):
        raise FixError("its value is used elsewhere too")
    order, later = statement.siblings(), suite.within(statement.block, user)
    between = order[order.index(statement.node) : order.index(later.node) + 1]
    changed = {name for other in map(tree.code, between) for name in names.binds(other) | names.changes(other)}
    if not between or names.confuse(names.reads(new.code), changed):
        raise FixError("its value is used elsewhere too, and what it is made from changes")


def _reads(path: Path, name: str) -> Iterator[Path]:
    """The ways to the names that are read: neither attributes nor keywords."""
    node = path[-1]
    if isinstance(node, cst.Name) and node.value == name:
        yield path
    hidden = (node.attr,) if isinstance(node, cst.Attribute) else (node.keyword,) if isinstance(node, cst.Arg) else ()
    for child in node.children:
        if child not in hidden:
            yield from _reads((*path, child), name)
