"""A line to be drawn on a terminal: styled text, how it goes on when it is too long, and what stands at its right."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint.core.record import dataclass, replace

from .plain_text import one_line

Spans = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """Continuations of `text` are indented by the width of `lead`, or by `hang` where that is more."""

    text: Spans = ()
    lead: Spans = ()
    right: Spans = ()
    hang: int = 0
    crop: bool = False  # source code is cut at the right edge instead


def faint(line: Line) -> Line:
    """`line` in one faint tone."""
    lead, text, right = (tuple((part, "faint") for part, _ in spans) for spans in (line.lead, line.text, line.right))
    return replace(line, lead=lead, text=text, right=right)


def prose(text: str, style: str = "") -> Spans:
    """One line of text, with what stands in backticks set apart."""
    return tuple(_code_set_apart(one_line(text), style))


def _code_set_apart(text: str, style: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"(`[^`]+`)", text):
        if part:
            yield part, f"{style} strong" if part.startswith("`") else style
