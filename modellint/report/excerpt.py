"""A location in words, and the lines of the user's file around it."""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Sequence
from pathlib import Path

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass

from .plain_text import one_line, printable

TAB = 4
MOST_LINES = 4


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line with its tabs expanded; `marked` is the half-open range of characters to underline."""

    number: int
    text: str
    marked: tuple[int, int] | None = None


def whereabouts(location: Location) -> str:
    """ "train.py:58:9 (module head)"."""
    numbers = (location.line, location.column)
    path = ":".join(str(part) for part in (location.path, *numbers) if part is not None) if location.path else ""
    module = f"module {location.module}" if location.module and not location.in_notebook else location.module or ""
    return one_line(f"{path} ({module})" if path and module else path or module)


def excerpt(location: Location, before: int = 1) -> tuple[SourceLine, ...]:
    """The marked lines and `before` lines ahead of them; empty when the file or the line is not there (any more)."""
    source = _lines(location)
    if location.line is None or not 1 <= location.line <= len(source):
        return ()
    last = min(max(location.end_line or location.line, location.line), len(source), location.line + MOST_LINES - 1)
    return tuple(_window(source, location, max(1, location.line - before), last))


def within(lines: tuple[SourceLine, ...], room: int) -> tuple[SourceLine, ...]:
    """`lines` moved to the left as far as it takes to see the mark in `room` columns."""
    start = max((line.marked[0] for line in lines if line.marked), default=0)
    return lines if start < room * 3 // 4 else tuple(_moved(line, start - room // 4) for line in lines)


def _moved(line: SourceLine, by: int) -> SourceLine:
    marked = line.marked and (line.marked[0] - by, max(line.marked[1] - by, 1))
    return SourceLine(line.number, "…" + line.text[by + 1 :] if line.text else "", marked)


def _lines(location: Location) -> Sequence[str]:
    if location.path is None:
        return ()
    if location.in_notebook:
        return _cell(location)
    place = str(Path(location.path).absolute())  # linecache would look for a relative path along sys.path too
    linecache.checkcache(place)
    try:
        return linecache.getlines(place)
    except ValueError:  # what cannot be decoded
        return ()


def _cell(location: Location) -> Sequence[str]:
    from modellint.source import notebook

    known = notebook.read(location.path or "")
    return next((cell.text.split("\n") for cell in known if cell.name == location.module), ())


def _window(source: Sequence[str], location: Location, first: int, last: int) -> Iterator[SourceLine]:
    for number in range(first, last + 1):
        line = source[number - 1].rstrip()
        marked = number == location.line and line.strip()
        yield SourceLine(number, _expanded(line), _marked(line, location) if marked else None)


def _marked(line: str, location: Location) -> tuple[int, int]:
    """From the column to the end column, or to the end of the line where the place goes on or gives none."""
    indent = len(line) - len(line.lstrip())
    start = min((location.column or indent + 1) - 1, len(line) - 1)
    ends_here = location.end_line in (None, location.line) and location.end_column
    end = min(location.end_column - 1, len(line)) if ends_here and location.end_column else len(line)
    return len(_expanded(line[:start])), len(_expanded(line[: max(end, start + 1)]))


def _expanded(text: str) -> str:
    return printable(text).expandtabs(TAB)
