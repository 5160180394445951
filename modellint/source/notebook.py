"""Notebooks: the code cells as one script, and places in that script back to places in the cells."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from modellint.core.diagnostic import Diagnostic, Location
from modellint.core.pattern import pattern
from modellint.core.record import dataclass, replace

SUFFIX = ".ipynb"
LINE = pattern(r"\bline (\d+)\b")
# `%magic`, `!command`, `?help` and `help?`, `x = !command`; of `%time statement` the statement is kept. A line that starts with
# `%(` or `!=` goes on with the one before.
TIMED = pattern(r"(\s*)%(?:time|timeit|prun|memit)\s+(?:-\w+(?:\s+\d+)?+\s+)*+(?=[^\s\\-])")
ESCAPE = pattern(r"\s*(%(?!\s*\()|!(?!=)|\?|[\w.]+\?\??\s*$|[\w.,\s]+=\s*[%!])")
INDENT = pattern(r"[ \t]+(?=[^\s])")
# Cell magics whose cell is Python still.
PYTHON = pattern(r"%%(time|timeit|capture|prun|python3?)\b")


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell: its number among all cells, from 1, and the lines that it has in the script."""

    number: int
    text: str
    first: int

    @property
    def name(self) -> str:
        return f"cell {self.number}"

    @property
    def lines(self) -> int:
        return self.text.count("\n") + 1


def script(data: bytes) -> bytes:
    """The cells in their order; magics and shell commands are blanked, so that every line stays where it is.

    Raises ValueError for what is no notebook.
    """
    return together(text for _, text in parts(data))


def together(texts: Iterable[str]) -> bytes:
    return "\n".join(texts).encode("utf-8", "surrogatepass")


def parts(data: bytes) -> Iterator[tuple[Cell, str]]:
    """The code cells, each with what of it is Python."""
    yield from ((cell, _masked(cell.text)) for cell in cells(data))


def cells(data: bytes) -> Iterator[Cell]:
    first = 1
    for number, content in enumerate(_cells(data), 1):
        if content.get("cell_type") == "code" or "input" in content:
            source = content.get("source", content.get("input", ""))
            cell = Cell(number, source if isinstance(source, str) else "".join(source), first)
            yield cell
            first += cell.lines


def _cells(data: bytes) -> list[Any]:
    try:
        notebook = json.loads(data)
        found = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        return [cell for cell in found if isinstance(cell, dict)]
    except (KeyError, IndexError, TypeError, RecursionError) as error:
        raise ValueError("it holds no cells") from error


def placed(findings: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """The findings with the places of those in notebooks in their cells: `module` is then the cell."""
    known: dict[str, list[Cell]] = {}
    for finding in findings:
        path = finding.location.path or ""
        if path.endswith(SUFFIX) and path not in known:
            known[path] = list(read(path))
        yield _placed(finding, known[path]) if known.get(path) else finding


def _placed(finding: Diagnostic, known: list[Cell]) -> Diagnostic:
    """With the lines that its message names too, and their cells where they are others."""
    location = _in_cell(finding.location, known)

    def named(found: re.Match[str]) -> str:
        place = _in_cell(replace(finding.location, line=int(found[1])), known)
        return f"line {place.line}" + (f" of {place.module}" if place.module != location.module else "")

    return replace(finding, location=location, message=LINE.sub(named, finding.message))


def read(path: str) -> Iterator[Cell]:
    """The code cells of a file; none if it is no notebook."""
    try:
        yield from cells(Path(path).read_bytes())
    except (OSError, ValueError):
        return


def _in_cell(place: Location, known: list[Cell]) -> Location:
    cell = next((cell for cell in reversed(known) if cell.first <= (place.line or 0)), None)
    if cell is None or place.line is None:
        return place
    before = cell.first - 1
    end = place.end_line and min(place.end_line - before, cell.lines)
    return replace(place, line=place.line - before, end_line=end, module=cell.name)


def _masked(text: str) -> str:
    first = text.lstrip().partition("\n")[0]
    if first.startswith("%%") and not PYTHON.match(first):
        return "\n" * text.count("\n")
    plain = _unindented(text)
    return plain if _parses(plain) else "\n".join(_without_escapes(plain.split("\n")))


def _unindented(text: str) -> str:
    """Without the indentation that all lines of a cell may have, as notebooks run it."""
    indent = INDENT.match(text)
    return re.sub(f"(?m)^{indent[0]}", "", text) if indent else text


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _without_escapes(lines: list[str]) -> Iterator[str]:
    """A blanked line keeps its block in one piece: it becomes `pass`."""
    continued = False
    for written in lines:
        line = TIMED.sub(r"\1", written, count=1) if not continued else written
        escape = continued or ESCAPE.match(line) is not None
        yield f"{line[: len(line) - len(line.lstrip())]}pass" if escape and not continued else "" if escape else line
        continued = escape and line.endswith("\\")
