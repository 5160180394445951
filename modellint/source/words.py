"""The words that rules cannot do without, and whether the code of a file holds some of them: else it is not parsed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from modellint.core.pattern import pattern
from modellint.core.rule import Word

OURS = b"modellint:"  # a comment to us may be unused
TEXT = pattern(
    rb"#[^\n]*"
    rb'|"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""'
    rb"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''"
    rb'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
    rb"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'",
    re.DOTALL,
)
Part = bytes | re.Pattern[bytes]


class Words:
    def __init__(self, words: Iterable[Word]) -> None:
        self._rests: dict[Part, list[tuple[Part, ...]]] = defaultdict(list)
        for word in words:
            first, *rest = map(_part, word if isinstance(word, tuple) else (word,))
            self._rests[first].append(tuple(rest))
        # Few places hold a point or a capital: whether one of all the words that begin so is there is asked first.
        self._rare = [part for part in self._rests if isinstance(part, bytes) and not part[:1].islower()]
        self._often = [part for part in self._rests if part not in self._rare]
        self._any_rare = re.compile(b"|".join(map(re.escape, sorted(self._rare))))

    def within(self, data: bytes, *, plain: bool = True) -> bool:
        """Whether one of them is there, and if it is `plain` Python, not only in comments and docstrings."""
        return OURS in data or (self._held(data) and (not plain or self._held(code(data))))

    def _held(self, data: bytes) -> bool:
        rare = self._rare if self._rare and self._any_rare.search(data) else []
        return any(_is_in(data, first) and self._completed(first, data) for first in (*rare, *self._often))

    def _completed(self, first: Part, data: bytes) -> bool:
        return any(all(_is_in(data, part) for part in rest) for rest in self._rests[first])


def code(data: bytes) -> bytes:
    """Python source without its comments and strings of several lines."""
    return TEXT.sub(_short, data)


def _short(text: re.Match[bytes]) -> bytes:
    found = text[0]
    return b"" if found.startswith((b"#", b'"""', b"'''")) else found


def _part(written: str | re.Pattern[bytes]) -> Part:
    return written.encode() if isinstance(written, str) else written


def _is_in(data: bytes, part: Part) -> bool:
    return part in data if isinstance(part, bytes) else part.search(data) is not None
