"""The templates of the page, and the words that they draw values with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from modellint.report.excerpt import excerpt, whereabouts
from modellint.report.plain_text import one_line, printable
from modellint.report.reading import figures
from modellint.report.sparkline import sparkline

_CODE = re.compile(r"`([^`]+)`")


def fill(name: str, values: Mapping[str, Any]) -> str:
    """The template `name` with `values`; everything that is not markup of the templates is escaped."""
    environment = Environment(
        loader=PackageLoader("modellint.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "pieces": pieces,
        "whereabouts": whereabouts,
        "excerpt": excerpt,
        "figures": figures,
        "sparkline": sparkline,
        "capitalised": capitalised,
    }
    style = files("modellint.report").joinpath("page/style.css").read_text(encoding="utf-8")
    return printable(environment.get_template(name).render(values, style=style)) + "\n"


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text on one line, in parts: each with whether it stood in backticks and is code."""
    for index, part in enumerate(_CODE.split(one_line(text))):
        if part:
            yield part, bool(index % 2)


def capitalised(text: str) -> str:
    """With a capital first, unless the first word is a name of code."""
    first = one_line(text).partition(" ")[0]
    return text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text
