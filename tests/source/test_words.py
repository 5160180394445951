"""Which files are parsed: by the words in their code."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from modellint import pipeline
from modellint.core.config import Settings
from modellint.source.words import Words, code, in_parts

MOST_ALONE = 450_000  # bytes of 46 million
WORDS = Words(["backward(", ("no_grad", re.compile(rb"\beval\b")), ("no_grad", "test")])


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("loss.backward()", True),
        ("# loss.backward()", False),
        ("x = 1  # loss.backward()\n", False),
        ('"""\n>>> loss.backward()\n"""', False),
        ("'''He said \\''' loss.backward()'''", False),
        ('"""One.\n"""\nloss.backward()\n"""Two."""', True),
        ('"""A "quoted" word."""\nloss.backward()', True),
        ('x = "#"; loss.backward()', True),
        ("x = 'it is \\'#\\''; loss.backward()", True),
        ('x = r"\\"; loss.backward()  # "', True),
        ('f("backward(")', True),
        ("with no_grad(): evaluate()", False),
        ("with no_grad(): model.eval", True),
        ("with no_grad(): test()", True),
        ("# modellint: ignore[clip-after-step]", True),
    ],
)
def test_words_count_in_code_only(text: str, held: bool) -> None:
    assert WORDS.within(text.encode()) is held


def test_an_unfinished_string_hides_nothing_after_its_line() -> None:
    assert code(b'x = "open\nloss.backward()') == b'x = "open\nloss.backward()'


def test_what_no_python_reads_is_told_whatever_it_holds() -> None:
    assert WORDS.within("x = 1".encode("utf-16"))
    assert not WORDS.within(b"x = 1")


def test_notebooks_are_searched_as_they_are() -> None:
    assert WORDS.within(b'{"source": ["# loss.backward()"]}', plain=False)


def test_words_are_sought_where_something_of_them_is_written() -> None:
    """A pattern alone is searched in every file; what is written beside it is found a hundred times faster."""
    parts = {(rule.name, in_parts(word)) for rule in pipeline.reading(Settings()) for word in rule.words}
    bare = {name for name, word in parts if not any(isinstance(part, bytes) for part in word)}
    assert bare == {"uncalled-method"}  # fifteen methods at the ends of lines, in a hundredth of the whole


def test_no_rule_alone_has_much_of_a_library_parsed() -> None:
    """Each megabyte that is parsed for one rule alone takes a second: its words are to be rarer."""
    rules = pipeline.reading(Settings())
    asking = {
        word: {rule.name for rule in rules if word in map(in_parts, rule.words)}
        for rule in rules
        for word in map(in_parts, rule.words)
    }
    words, alone = Words(word for rule in rules for word in rule.words), Counter[str]()
    for path in Path(torch.__file__).parent.rglob("*.py"):
        names = set[str]().union(*(asking[word] for word in words.held(path.read_bytes())))
        if len(names) == 1:
            alone[names.pop()] += path.stat().st_size
    assert {name: size for name, size in alone.items() if size > MOST_ALONE} == {}


def test_a_name_that_is_a_word_of_one_rule_and_a_piece_of_anothers() -> None:
    words = Words([".torch(", ("train(", "torch")])  # as a whole, and as a piece of a name
    assert words.within(b"import torch\nmodel.train()\n")
    assert words.within(b"use.torch(x)\n")
    assert not words.within(b"import torch\nmodel.fit()\n")
