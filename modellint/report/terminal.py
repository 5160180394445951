"""Lines drawn for a terminal: wrapped to its width, in colour where colours are shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby

from .line import Line
from .plain_text import cells
from .wrap import Text, cropped, stripped, text, wrapped

NARROWEST, WIDEST, PIPED = 40, 120, 100

# Select Graphic Rendition, ECMA-48 8.3.117.
BOLD, DIM, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = 1, 2, 31, 32, 33, 34, 35, 36
STYLES = {
    "error": (BOLD, RED),
    "warning": (BOLD, YELLOW),
    "note": (BOLD, CYAN),
    "good": (BOLD, GREEN),
    "rail": (BLUE,),
    "label": (BOLD,),
    "strong": (BOLD,),
    "chart": (MAGENTA,),
    "faint": (DIM,),
}


def draw(lines: Iterable[Line], width: int, *, color: bool) -> str:
    return "".join(f"{_drawn(row, color)}\n" for line in lines for row in _rows(line, width))


def columns() -> int:
    """The width to draw for: COLUMNS or the terminal's, within what is pleasant to read; 100 into a pipe."""
    given = os.environ.get("COLUMNS", "")
    width = int(given) if given.isdigit() else 0
    return min(max(width or _of_the_terminal(), NARROWEST), WIDEST)


def _of_the_terminal() -> int:
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else PIPED
    except (OSError, ValueError):
        return PIPED


def wants_color() -> bool:
    """NO_COLOR, then FORCE_COLOR, then whether standard output is a terminal that knows colours."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _rows(line: Line, width: int) -> Iterator[Text]:
    lead, right = text(line.lead), text(line.right)
    hang = max(_width(lead), line.hang)
    room = max(width - hang - (_width(right) + 2 if right else 0), 1)
    first, *others = [cropped(text(line.text), room)] if line.crop else wrapped(text(line.text), room)
    yield _justified(lead + first, right, width)
    yield from (text(((" " * hang, ""),)) + row for row in others)


def _justified(left: Text, right: Text, width: int) -> Text:
    left = stripped(left)
    return left + text(((" " * (width - _width(left) - _width(right)), ""),)) + right if right else left


def _width(row: Text) -> int:
    return cells("".join(character for character, _ in row))


def _drawn(row: Text, color: bool) -> str:
    spans = (("".join(c for c, _ in part), style) for style, part in groupby(row, key=lambda piece: piece[1]))
    return "".join(_styled(part, style) if color and style else part for part, style in spans)


def _styled(part: str, style: str) -> str:
    codes = sorted({code for word in style.split() for code in STYLES[word]})
    return f"\x1b[{';'.join(map(str, codes))}m{part}\x1b[0m" if codes else part
