"""Fixes in other clothes: however a script is laid out, the same change is made, or none and the file stays."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from modellint import SourceRule
from modellint.core import registry
from modellint.core.rule import Rule
from modellint.selftest import examples
from modellint.source import fix, parse

RULES = [r for r in registry.load() if isinstance(r, SourceRule) and type(r).fix is not Rule.fix]
PASSES = 10


def fixed(rule: SourceRule, data: bytes) -> bytes:
    """What the fixes of the rule make of a source, pass by pass."""
    for _ in range(PASSES):
        script = parse._parsed("example.py", data)
        script = next(parse.link.together([script], lambda _: None))
        wanted = [found for finding in rule.suspect(script) if (found := rule.fix(finding, script)) is not None]
        try:
            result = fix.apply(data, wanted).data
        except fix.FixError:
            break
        if result == data:
            break
        data = result
    return data


def exploded(text: str, between: str = "\n") -> str:
    """Each argument and item on lines of its own."""
    lines, pieces, depth, end = text.splitlines(keepends=True), [], 0, (1, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        pieces.append(_skipped(lines, end, token.start))
        end = token.end
        opening, closing = token.string in ("(", "[", "{"), token.string in (")", "]", "}")
        depth += opening - closing
        broken = token.type == tokenize.OP and (opening or (token.string == "," and depth))
        pieces.append(f"{token.string}{between}" if broken else token.string)
    return "".join(pieces)


def _skipped(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]] if start[0] <= len(lines) else ""
    between = "".join(lines[start[0] : end[0] - 1])
    last = lines[end[0] - 1][: end[1]] if end[0] <= len(lines) else ""
    return lines[start[0] - 1][start[1] :] + between + last


def under(*heads: str) -> Callable[[str], str]:
    """A text in blocks, the innermost first."""

    def dressed(text: str) -> str:
        for head in heads:
            text = f"{head}\n{textwrap.indent(text, '    ')}"
        return text

    return dressed


@cache
def plain() -> list[tuple[SourceRule, str, str]]:
    """Each example that is fixed, before and after."""
    found = ((rule, inspect.cleandoc(bad)) for rule in RULES for bad in examples(rule.bad))
    pairs = ((rule, bad, fixed(rule, bad.encode()).decode()) for rule, bad in found)
    return [(rule, before, after) for rule, before, after in pairs if after != before]


LAYOUTS: dict[str, Callable[[str], bytes]] = {
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "tabs": lambda text: text.replace("    ", "\t").encode(),
    "latin-1": lambda text: f"# coding: latin-1\n# \xe9\n{text}".encode("latin-1"),
    "wide": lambda text: f"é = 'é日本😀'\n{text}".encode(),
    "exploded": lambda text: exploded(text).encode(),
    "exploded with comments": lambda text: exploded(text, "  # said\n").encode(),
}
NESTED = {
    "decorated": under("@torch.compile\n@logged(1)\ndef run(loader, model, opt):"),
    "asynchronous": under("async def run(loader, model, opt):", "class Trainer:"),
    "elif": under("if x:\n    pass\nelif y:", "def run(loader, model, opt):"),
    "with": under("with torch.autocast('cuda'):", "def run(loader, model, opt):"),
    "try": under("try:\n    pass\nfinally:", "def run(loader, model, opt):"),
}


def test_there_are_examples() -> None:
    assert len(plain()) >= 28


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_does_not_change_the_fix(layout: str) -> None:
    for rule, before, after in plain():
        given, result = LAYOUTS[layout](before), fixed(rule, LAYOUTS[layout](before))
        if "comments" in layout and result == given:
            continue  # a comment would be lost
        assert ast.dump(ast.parse(result)) == ast.dump(ast.parse(LAYOUTS[layout](after))), rule.name
        assert result.count(b"\r\n") == (result.count(b"\n") if layout == "crlf" else 0), rule.name
        assert comments(result) == comments(given), rule.name
        assert fixed(rule, result) == result, rule.name


@pytest.mark.parametrize("nest", NESTED)
def test_what_is_around_does_not_change_the_fix(nest: str) -> None:
    for rule, before, after in plain():
        assert fixed(rule, NESTED[nest](before).encode()).decode() == NESTED[nest](after), rule.name


def comments(data: bytes) -> Counter[str]:
    return Counter(t.string for t in tokenize.tokenize(io.BytesIO(data).readline) if t.type == tokenize.COMMENT)
