"""A Report in each of its formats; a format is a module of `formats/`, imported when it is asked for."""

from __future__ import annotations

import importlib
import os
from typing import Any

from modellint.core.diagnostic import Report

from . import formats

FORMATS = tuple(sorted(n[:-3] for n in os.listdir(formats.__path__[0]) if n.endswith(".py") and n != "__init__.py"))


def render(report: Report, format: str = "full", **context: Any) -> str:  # noqa: A002
    """`report` as text that ends in a newline, or is empty.

    `context` says how to draw for a terminal: `color` (None: ask the environment) and `width` in columns; and which
    `rules` were asked and which `run` was judged, for the formats that describe them.
    Raises ValueError for a format that does not exist.
    """
    if format not in FORMATS:
        raise ValueError(f"no report format {format!r}; there are: {', '.join(FORMATS)}")
    text: str = importlib.import_module(f".formats.{format}", __name__).render(report, **context)
    return text
