"""What a piece of code reads, binds and does, as far as an edit must know it to keep its meaning."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .error import FixError

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)


def parsed(code: str) -> ast.Module:
    try:
        return ast.parse(code.lstrip())
    except (SyntaxError, ValueError, RecursionError) as error:
        raise FixError(f"a part of the statement cannot be parsed alone ({error})") from error


def dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := dotted(node.value)):
        return f"{head}.{node.attr}"
    return None


def reads(code: str) -> set[str]:
    """Dotted names, the whole of each: `self.model.parameters`."""
    return set(_names(parsed(code), ast.Load))


def binds(code: str) -> set[str]:
    """Dotted names that are assigned, deleted, imported or defined; of `x[0] = 1` the name `x`."""
    tree = parsed(code)
    found = {*_names(tree, ast.Store), *_names(tree, ast.Del)}
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            found.add(dotted(node.value) or "")
    return found - {""}


def changes(code: str) -> set[str]:
    """Dotted names of the objects whose in-place methods are called: `x` of `x.add_(1)`."""
    called = (node.func for node in ast.walk(parsed(code)) if isinstance(node, ast.Call))
    methods = (f for f in called if isinstance(f, ast.Attribute) and f.attr.endswith("_") and f.attr[-2:] != "__")
    return {name for method in methods if (name := dotted(method.value))}


def _names(tree: ast.AST, context: type[ast.expr_context]) -> Iterator[str]:
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        name = dotted(node) if isinstance(node, ast.Name | ast.Attribute) else None
        if name is not None and isinstance(getattr(node, "ctx", None), context):
            yield name
        if name is None or not isinstance(getattr(node, "ctx", None), ast.Load):
            stack.extend(ast.iter_child_nodes(node))


def confuse(read: set[str], bound: set[str]) -> str:
    """A name that is read as one thing before and as another after `bound` are bound; empty if there is none."""
    return next((b for b in bound for r in read if r == b or r.startswith(f"{b}.") or b.startswith(f"{r}.")), "")


def leaves(code: str) -> bool:
    """Whether the code may leave the suite: by return, by break or continue of a loop around it."""
    return _leaves(parsed(code), False)


def _leaves(node: ast.AST, looped: bool) -> bool:
    if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom):
        return True
    if isinstance(node, ast.Break | ast.Continue):
        return not looped
    inner = (child for child in ast.iter_child_nodes(node) if not isinstance(child, SCOPES))
    return any(_leaves(child, looped or isinstance(node, LOOPS)) for child in inner)


def yields(code: str) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(parsed(code)))


def is_pure(code: str) -> bool:
    """Whether an expression can be dropped or repeated: names, attributes, items, constants and arithmetic of them."""
    impure = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, *SCOPES)
    return not any(isinstance(node, impure) for node in ast.walk(parsed(f"({code})")))


def is_atom(code: str) -> bool:
    """Whether an expression needs no parentheses wherever it stands."""
    body = parsed(f"(\n{code}\n)").body[0]
    assert isinstance(body, ast.Expr)
    node = body.value
    closed = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp)
    number = isinstance(node, ast.Constant) and isinstance(node.value, int | float | complex)
    if isinstance(node, ast.Constant) and (not number or isinstance(node.value, bool)):
        return "\n" not in code
    return isinstance(node, closed) and "\n" not in _outside(code)


def _outside(code: str) -> str:
    """`code` without what is inside brackets."""
    kept, depth = [], 0
    for character in code:
        depth -= character in ")]}"
        kept.append("" if depth else character)
        depth += character in "([{"
    return "".join(kept)


def uses(code: str, name: str) -> tuple[int, int]:
    """How often a plain name is read in the code, and how often it is bound, deleted or declared."""
    read = bound = 0
    for node in ast.walk(parsed(code)):
        if isinstance(node, ast.Name) and node.id == name:
            read += isinstance(node.ctx, ast.Load)
            bound += not isinstance(node.ctx, ast.Load)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            bound += name in node.names
        elif isinstance(node, ast.arg):
            bound += node.arg == name
    return read, bound
