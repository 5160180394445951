"""Styled text broken into rows: at spaces, and within a word that is wider than a row."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .line import Spans
from .plain_text import cells

Text = list[tuple[str, str]]  # characters with their styles


def text(spans: Spans) -> Text:
    return [(character, style) for part, style in spans for character in part]


def wrapped(whole: Text, room: int) -> list[Text]:
    """At least one row; none ends in a space."""
    rows: list[Text] = [[]]
    used = 0
    for word in _words(whole):
        needed = _width(stripped(word))
        if used and used + needed > room:
            rows.append([])
            used = 0
        for piece in _folded(word, room) if needed > room else (word,):
            if used + _width(stripped(piece)) > room:
                rows.append([])
                used = 0
            rows[-1] += piece
            used += _width(piece)
    return [stripped(row) for row in rows]


def cropped(whole: Text, room: int) -> Text:
    """Cut at the right edge, with an ellipsis there."""
    if _width(whole) <= room:
        return whole
    return [*next(_folded(whole, room - 1)), ("…", whole[-1][1])]


def stripped(row: Text) -> Text:
    end = len("".join(character for character, _ in row).rstrip())
    return row[:end]


def _words(whole: Text) -> Iterator[Text]:
    """Each with the spaces that follow it."""
    for found in re.finditer(r"\s*\S+\s*|\s+", "".join(character for character, _ in whole)):
        yield whole[found.start() : found.end()]


def _folded(word: Text, room: int) -> Iterator[Text]:
    piece: Text = []
    for character in word:
        if piece and _width([*piece, character]) > room:
            yield piece
            piece = []
        piece = [*piece, character]
    yield piece


def _width(row: Text) -> int:
    return cells("".join(character for character, _ in row))
