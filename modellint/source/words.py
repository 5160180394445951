"""The words that rules cannot do without, and whether the code of a file holds some of them: else it is not parsed.

A file is cut into its names once; which words a name may be a part of is sought once for all files. Only words of which
all names are there are sought in the file itself.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from functools import cache, partial, reduce
from operator import or_

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
# What is between names becomes a space, which cuts a file faster than any pattern.
CUTS = bytes(c if c >= 128 or chr(c).isalnum() or c == ord("_") else ord(" ") for c in range(256))
NAME = pattern(rb" ?[^ ]{2,} ?")
Part = bytes | re.Pattern[bytes]
Parts = tuple[Part, ...]


class Words:
    def __init__(self, words: Iterable[Word]) -> None:
        split = dict.fromkeys(map(in_parts, words))
        plain_first = sorted(split, key=lambda parts: sum(not isinstance(part, bytes) for part in parts))
        self._bits: dict[bytes, int] = {}  # of the names in the words, and pieces of names
        self._words = [(self._needed(parts), parts) for parts in plain_first]
        whole = {name: bit for name, bit in self._bits.items() if name[:1] == name[-1:] == b" "}
        self._pieces = [(name, bit) for name, bit in self._bits.items() if name not in whole]
        self._whole = {name.strip(): bit for name, bit in whole.items()}
        self._held: dict[bytes, int] = {}  # by each name of a file, the bits of ours in it

    def within(self, data: bytes, *, plain: bool = True) -> bool:
        """Whether one of them is there, and if it is `plain` Python, not only in comments and docstrings."""
        return OURS in data or data[:2] in UTF_16 or any(True for _ in self.held(data, plain=plain))

    def held(self, data: bytes, *, plain: bool = True) -> Iterator[Parts]:
        """Those that are there, in parts."""
        written, bare = cache(partial(_is_in, data)), cache(lambda: code(data))
        for parts in self._possible(data):
            if all(map(written, parts)) and (not plain or all(_is_in(bare(), part) for part in parts)):
                yield parts

    def _possible(self, data: bytes) -> Iterator[Parts]:
        """The words of which all names are there."""
        names = set(data.translate(CUTS).split())
        self._learn(names.difference(self._held))
        there = reduce(or_, set(map(self._held.__getitem__, names)), 0)
        return (parts for needed, parts in self._words if needed & there == needed)

    def _learn(self, names: set[bytes]) -> None:
        self._held |= {name: self._whole.get(name, 0) for name in names}
        text = b" %s " % b" ".join(names)
        for ours, bit in self._pieces:
            at = text.find(ours)
            while at >= 0:
                end = text.index(b" ", at + 1)
                name = text[text.rindex(b" ", 0, at + 1) + 1 : end]
                self._held[name] |= bit
                at = text.find(ours, end)

    def _needed(self, parts: Parts) -> int:
        """The bits of the names without which a file cannot hold a word; a space is where a name begins or ends."""
        needed = 0
        for part in parts:
            for name in NAME.findall(part.translate(CUTS)) if isinstance(part, bytes) else ():
                needed |= self._bits.setdefault(name, 1 << len(self._bits))
        return needed


def code(data: bytes) -> bytes:
    """Python source without its comments and strings of several lines."""
    return TEXT.sub(_short, data)


def _short(text: re.Match[bytes]) -> bytes:
    found = text[0]
    return b"" if found.startswith((b"#", b'"""', b"'''")) else found


def in_parts(word: Word) -> Parts:
    return tuple(map(_part, word if isinstance(word, tuple) else (word,)))


def _part(written: str | re.Pattern[bytes]) -> Part:
    return written.encode() if isinstance(written, str) else written


def _is_in(data: bytes, part: Part) -> bool:
    return part in data if isinstance(part, bytes) else part.search(data) is not None
