"""Text as Markdown (CommonMark with GitHub's tables) that shows what the text says and means nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from modellint.core.pattern import pattern

from .plain_text import one_line, printable

_CODE = pattern(r"(`[^`]+`)")
_MARKUP = pattern(r"[\\*\[<$`~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|^(?=>|(?:#{1,6}|[+-])(?:\s|$))|(?<=^\d)(?=[.)]\s)")
_MENTION = pattern(r"(?<![\w/])(@(?=\w)|#(?=\d))")  # of a person or an issue, outside of addresses
_NOTHING = "&#8203;"  # a space of no width


def prose(text: str) -> str:
    """One line with all markup escaped, except that what stands in backticks stays code; nobody is notified."""
    parts = _CODE.split(one_line(text))
    return "".join(code(part[1:-1]) if _CODE.fullmatch(part) else _plain(part) for part in parts)


def sentence(text: str) -> str:
    """`prose` that starts with a capital, unless its first word is a name of code."""
    first = one_line(text).partition(" ")[0]
    return prose(text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text)


def code(text: str) -> str:
    """Inline code in a fence that `text` cannot close."""
    text = one_line(text)
    fence = "`" * (_longest_fence(text) + 1)
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{text}{padding}{fence}" if text else ""


def block(lines: Iterable[str], language: str = "") -> Iterator[str]:
    """A fenced block of code."""
    text = [printable(line) for line in lines]
    fence = "`" * max(3, 1 + max(map(_longest_fence, text), default=0))
    yield from (f"{fence}{language}", *text, fence, "")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """`rows` hold Markdown; a column that is empty in all of them is left out."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    kept = [place for place in range(len(titles)) if any(row[place] for row in cells)]
    for row in (titles, ["---"] * len(titles), *cells):
        yield f"| {' | '.join(row[place] for place in kept)} |"
    yield ""


def _plain(text: str) -> str:
    return _MENTION.sub(rf"\1{_NOTHING}", _MARKUP.sub(r"\\\g<0>", text))


def _longest_fence(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
