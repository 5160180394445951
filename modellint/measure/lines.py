"""The user's lines in tracebacks, in stacks and in the loops of a source file."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from modellint.core.diagnostic import Location

_ENTRY = re.compile(r'File "(?P<path>[^<"].*?)", line (?P<line>\d+)')
_INSTALLED = re.compile(
    r"[/\\](site-packages|dist-packages|lib(64)?[/\\]python\d[.\d]*|modellint[/\\](recorder|measure))[/\\]"
)


def user_lines(text: str) -> list[Location]:
    """Every line of the user that a traceback or a stack names, in its order."""
    found = ((entry["path"], int(entry["line"])) for entry in _ENTRY.finditer(text))
    return [Location(_shown(path), line) for path, line in found if not _INSTALLED.search(path)]


def current_thread(stacks: str) -> str:
    """The part of faulthandler's text that tells of the thread which was interrupted, usually the main one."""
    return stacks.rpartition("Current thread")[2]


def loops_around(path: str, line: int) -> Iterator[range]:
    """The lines of each loop around `line`, within its function."""
    for node in ast.walk(_parsed(path)):
        if isinstance(node, (ast.For, ast.While, ast.AsyncFor)) and line in _lines(node):
            yield _lines(node)


def handler(stepping: Sequence[Sequence[str | int]]) -> Location | None:
    """The `except` that catches everything raised in the training loop, in the loop's own function, and goes on."""
    for path, line in stepping:
        caught = swallows(str(path), int(line))
        if caught is not None:
            return Location(str(path), caught)
        if any(loops_around(str(path), int(line))):
            break
    return None


def swallows(path: str, line: int) -> int | None:
    """The line of an `except` that catches everything raised at `line`, in the same function, and goes on."""
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Try) and node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0):
            for handler in node.handlers:
                if _catches_all(handler) and not any(isinstance(inner, ast.Raise) for inner in ast.walk(handler)):
                    return handler.lineno
    return None


def same_loop(stepping: Sequence[Sequence[str | int]], leaving: Sequence[Sequence[str | int]]) -> bool:
    """Whether two stacks, as [path, line] pairs, pass through one and the same loop."""
    places = {(str(path), int(line)) for path, line in leaving}
    return any(
        path == other and other_line in loop
        for path, line in stepping
        for loop in loops_around(str(path), int(line))
        for other, other_line in places
    )


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in ("BaseException", "Exception")
    )


def _lines(node: ast.For | ast.While | ast.AsyncFor) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _parsed(path: str) -> ast.AST:
    try:
        return ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def _shown(path: str) -> str:
    below = os.path.relpath(path)
    return path if below.startswith("..") else below
