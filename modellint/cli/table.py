"""Rows in columns, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from modellint.report.plain_text import cells


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, the others to the right."""
    lines = [tuple(titles), *map(tuple, rows)]
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *others = (" " * (width - cells(text)) for text, width in zip(line, widths, strict=True))
        yield f"{line[0]}{first}  {'  '.join(pad + text for pad, text in zip(others, line[1:], strict=True))}"
