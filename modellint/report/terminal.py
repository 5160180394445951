"""Lines drawn for a terminal with rich: wrapped to its width, in colour where colours are shown."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from .line import Line, Spans

NARROWEST, WIDEST, PIPED = 40, 120, 100

STYLES = {
    "error": "bold red",
    "warning": "bold yellow",
    "note": "bold cyan",
    "good": "bold green",
    "rail": "blue",
    "label": "bold",
    "strong": "bold",
    "chart": "magenta",
    "faint": "dim",
}


def draw(lines: Iterable[Line], width: int, *, color: bool) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        height=1,  # spares a system call a line
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
    )
    with console.capture() as drawn:
        for line in lines:
            for row in _rows(line, console):
                console.print(row, no_wrap=True, overflow="ignore", crop=False, highlight=False)
    return drawn.get()


def columns() -> int:
    """The width to draw for: COLUMNS or the terminal's, within what is pleasant to read; 100 into a pipe."""
    width = shutil.get_terminal_size((PIPED, 24)).columns
    return min(max(width, NARROWEST), WIDEST)


def wants_color() -> bool:
    """NO_COLOR, then FORCE_COLOR, then whether standard output is a terminal that knows colours."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _rows(line: Line, console: Console) -> Iterator[Text]:
    lead, text, right = _text(line.lead), _text(line.text), _text(line.right)
    hang = max(lead.cell_len, line.hang)
    room = max(console.width - hang - (right.cell_len + 2 if right else 0), 1)
    if line.crop:
        text.truncate(room, overflow="ellipsis")
    first, *others = [text] if line.crop else text.wrap(console, room, overflow="fold") or [text]
    yield _justified(lead.append_text(first), right, console.width)
    yield from (_justified(Text(" " * hang).append_text(row), Text(), console.width) for row in others)


def _justified(left: Text, right: Text, width: int) -> Text:
    left.rstrip()
    return left.append(" " * (width - left.cell_len - right.cell_len)).append_text(right) if right else left


def _text(spans: Spans) -> Text:
    text = Text()
    for part, style in spans:
        text.append(part, " ".join(STYLES.get(word, word) for word in style.split()))
    return text
