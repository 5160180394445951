"""A Report in each of its formats; a format is a module of `formats/`, imported when it is asked for."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from modellint.core.diagnostic import Report

from . import formats

FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(formats.__path__)))


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
