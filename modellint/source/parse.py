"""Bytes to Scripts: prefilter by trigger words, one parse and one traversal a file, then the link with other files."""

from __future__ import annotations

import ast
import contextlib
import gc
import io
import os
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from modellint.core.diagnostic import Location, Problem
from modellint.core.record import replace
from modellint.core.suppress import ignores

from . import definitions, displays, expressions, importers, link, notebook, statements
from .script import Script
from .walker import Body, Walker
from .words import Words

FEW = 40  # files: so many are searched for all words, and parsed without any to tell what cannot be
READERS = {**expressions.READERS, **displays.READERS, **statements.READERS, **definitions.READERS}


def read(
    paths: Iterable[Path],
    words: Words | None = None,
    edited: Mapping[str, bytes] = MappingProxyType({}),
) -> Iterator[Script]:
    """The scripts among `paths` that hold one of `words` (all, if there are none), linked; of the others, if `paths` are few,
    those that cannot be parsed.

    `edited` holds what some files (by the path that is shown) contain instead of what is on the disk.
    """
    data = partial(content, edited=edited)
    load = partial(_load, data=data)
    asked = list(paths)
    found = {path: load(path, words) for path in asked}
    if words is not None and len(asked) <= FEW:
        found |= {path: _broken(path, data) for path in asked if not found[path]}
    given, unread = (script for script in found.values() if script), [path for path in found if not found[path]]
    with _uncollected():
        linked = list(link.together(given, load, partial(importers.calling, unread, data)))
    yield from linked


def script(path: str, source: str | bytes) -> Script:
    """The facts of one source, linked with no other file."""
    data = source.encode() if isinstance(source, str) else source
    return next(link.together([_parsed(path, data)], lambda *_: None))


def content(path: Path, edited: Mapping[str, bytes]) -> bytes:
    shown = shown_path(path)
    return edited[shown] if shown in edited else path.read_bytes()


def _load(path: Path, words: Words | None, data: Callable[[Path], bytes]) -> Script | None:
    shown = shown_path(path)
    try:
        content = data(path)
    except OSError as error:
        return Script(shown, problem=Problem(f"cannot be read: {error.strerror}", Location(shown)))
    is_notebook = path.suffix == notebook.SUFFIX
    if words is not None and not words.within(content, plain=not is_notebook):
        return None
    return _of_notebook(shown, content) if is_notebook else _parsed(shown, content)


def _broken(path: Path, data: Callable[[Path], bytes]) -> Script | None:
    """A file of which nothing is to be known but why it cannot be parsed."""
    if path.suffix == notebook.SUFFIX:
        return None
    shown = shown_path(path)
    with contextlib.suppress(OSError):  # it was there when its words were sought
        whole = _tried(shown, data(path), lambda _: Script(shown))
        return whole if whole.problem else None
    return None


def _of_notebook(path: str, data: bytes) -> Script:
    try:
        parts = list(notebook.parts(data))
    except ValueError as error:
        return Script(path, problem=Problem(f"cannot be read as a notebook: {error}", Location(path)))
    whole = _parsed(path, notebook.together(text for _, text in parts))
    return whole if whole.problem is None else _without_broken(whole, parts)


def _without_broken(whole: Script, parts: Sequence[tuple[notebook.Cell, str]]) -> Script:
    """The notebook without the cells that cannot be parsed; as it is where none of them can."""
    read = [(cell, text, _parsed(whole.path, notebook.together([text])).problem) for cell, text in parts]
    kept = _parsed(whole.path, notebook.together("\n" * text.count("\n") if bad else text for _, text, bad in read))
    broken = [_moved(bad, cell.first - 1) for cell, _, bad in read if bad]
    return replace(kept, broken=tuple(broken)) if kept.problem is None and len(broken) < len(parts) else whole


def _moved(problem: Problem, lines: int) -> Problem:
    return replace(problem, location=replace(problem.location, line=(problem.location.line or 1) + lines))


def shown_path(path: Path) -> str:
    """Relative to the current directory for files below it, else absolute."""
    full = os.path.abspath(path)
    here = os.getcwd() + os.sep
    return full.removeprefix(here)


def _parsed(path: str, data: bytes) -> Script:
    return _tried(path, data, partial(_facts, path, data))


def _tried(path: str, data: bytes, made: Callable[[ast.Module], Script]) -> Script:
    """What is made of the tree; a file that cannot be parsed gives a Script with a problem."""
    try:
        with warnings.catch_warnings(), _uncollected():
            warnings.simplefilter("ignore")
            return made(ast.parse(data))
    except SyntaxError as error:
        line = error.lineno or 1
        return Script(
            path, problem=Problem(f"syntax error: {error.msg}", Location(path, line, max(error.offset or 1, 1)))
        )
    except RecursionError:
        return Script(path, problem=Problem("nested too deeply to be parsed", Location(path)))
    except (ValueError, MemoryError) as error:  # null bytes, surrogates
        return Script(path, problem=Problem(f"cannot be parsed: {error}", Location(path)))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: facts and syntax trees hold no cycles, and to look for some takes a third of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _facts(path: str, data: bytes, tree: ast.Module) -> Script:
    walker = Walker(path, {} if data.isascii() else _wide(data), READERS)
    with walker.defining(Body("", "module", location=Location(path, 1, 1))):
        walker.read(tree.body)
    marks = tuple(ignores(path, text(data))) if b"modellint:" in data else ()
    return Script(
        path,
        imports=walker.imports,
        functions=tuple(walker.functions),
        classes=tuple(walker.classes),
        attributes=frozenset(walker.attributes),
        called=frozenset(walker.called),
        ignores=marks,
    )


def _wide(data: bytes) -> dict[int, bytes]:
    """The lines, in the parser's UTF-8, of which columns are no offsets."""
    lines = enumerate(text(data).split("\n"), 1)
    return {number: line.encode() for number, line in lines if not line.isascii()}


def text(data: bytes) -> str:
    """In the encoding that the source declares. Raises SyntaxError for one that Python does not know."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
