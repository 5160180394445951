"""Short sources, places in them, and what edits make of them."""

from __future__ import annotations

import inspect

from modellint import Fix, Location
from modellint.core.diagnostic import Edit
from modellint.source import fix


def clean(text: str) -> str:
    return inspect.cleandoc(text) + "\n"


def at(source: str, text: str) -> Location:
    """Where `text` is written first; its location, as a rule would give it."""
    start = source.index(text)
    line, end_line = (source[:edge].count("\n") + 1 for edge in (start, start + len(text)))
    column, end_column = (edge - (source[:edge].rfind("\n") + 1) + 1 for edge in (start, start + len(text)))
    return Location("train.py", line, column, end_line, end_column)


def applied(source: str, *edits: Edit) -> str:
    result = fix.apply(source.encode(), [Fix((one,)) for one in edits])
    assert not result.refused
    return result.data.decode()


def refusal(source: str, one: Edit) -> str:
    """Why the edit is refused; the source is not changed."""
    result = fix.apply(source.encode(), [Fix((one,))])
    assert result.data == source.encode()
    return result.refused[0]
