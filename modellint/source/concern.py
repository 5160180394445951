"""Which rules some files may concern, by the words in them: only these need to be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from modellint.core.rule import Rule, Word

from . import notebook
from .parse import FEW, content


def concerned(rules: Sequence[Rule], paths: Iterable[Path], edited: Mapping[str, bytes]) -> Sequence[Rule]:
    """The rules of whose words one may be in a file; of many files all rules."""
    there = list(islice(_there(paths, edited), FEW))
    if len(there) == FEW or any(path.suffix == notebook.SUFFIX for path, _ in there):
        return rules
    return [rule for rule in rules if not rule.words or any(_may_hold(data, rule.words) for _, data in there)]


def _there(paths: Iterable[Path], edited: Mapping[str, bytes]) -> Iterator[tuple[Path, bytes]]:
    for path in paths:
        try:
            yield path, content(path, edited)
        except OSError:
            continue


def _may_hold(data: bytes, words: Iterable[Word]) -> bool:
    """Whether a word is there, but for patterns: to compile some takes as long as to load their rules."""
    return any(all(part.encode() in data for part in _plain(word)) for word in words)


def _plain(word: Word) -> Iterator[str]:
    return (part for part in (word if isinstance(word, tuple) else (word,)) if isinstance(part, str))
