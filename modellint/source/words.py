"""The words that rules cannot do without, and whether the code of a file holds some of them: else it is not parsed."""

from __future__ import annotations

import codecs
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from modellint.core.pattern import pattern
from modellint.core.rule import Word

OURS = b"modellint:"  # a comment to us may be unused
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # no Python can read it, and its words are not to be found
TEXT = pattern(
    rb"#[^\n]*"
    rb'|"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""'
    rb"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''"
    rb'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
    rb"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'",
    re.DOTALL,
)
MUCH = 200_000  # bytes, that are searched as fast as the words are grouped
Part = bytes | re.Pattern[bytes]
Group = tuple[Part, Sequence[Part]]


class Words:
    def __init__(self, words: Iterable[Word]) -> None:
        self._rests: dict[Part, list[tuple[Part, ...]]] = defaultdict(list)
        for word in words:
            first, *rest = map(_part, word if isinstance(word, tuple) else (word,))
            self._rests[first].append(tuple(rest))
        self._each = [(part, (part,)) for part in self._rests]
        self._searched = 0

    @cached_property
    def _groups(self) -> list[Group]:
        plain = [part for part in self._rests if isinstance(part, bytes)]
        return [*_grouped(plain), *((part, (part,)) for part in self._rests if not isinstance(part, bytes))]

    def within(self, data: bytes, *, plain: bool = True) -> bool:
        """Whether one of them is there, and if it is `plain` Python, not only in comments and docstrings."""
        return OURS in data or data[:2] in UTF_16 or (self._held(data) and (not plain or self._held(code(data))))

    def _held(self, data: bytes) -> bool:
        self._searched += len(data)
        return any(
            _is_in(data, asked) and any(_is_in(data, first) and self._completed(first, data) for first in words)
            for asked, words in (self._groups if self._searched > MUCH else self._each)
        )

    def _completed(self, first: Part, data: bytes) -> bool:
        return any(all(_is_in(data, part) for part in rest) for rest in self._rests[first])


def _grouped(words: Iterable[bytes]) -> Iterator[Group]:
    """The words, with what is asked first of all of a group: a word that is a part of the others, or a pattern of all."""
    begun: dict[bytes, list[bytes]] = defaultdict(list)
    for word in sorted(words, key=lambda word: (len(word), word)):
        begun[_beginning(word)].append(word)
    left = begun.pop(b"", [])
    for alike in begun.values():
        yield re.compile(b"|".join(map(re.escape, alike))), alike
    while left:
        shortest = left[0]
        yield shortest, [word for word in left if shortest in word]
        left = [word for word in left if shortest not in word]


def _beginning(word: bytes) -> bytes:
    """Of words that begin with what few places hold, where a pattern of all of them is fast; else empty."""
    if word.startswith(b"torch."):
        return b"torch."
    return b"A" if word[:1].isupper() else b"" if word[:1].islower() else word[:1]


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
