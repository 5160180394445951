"""The options that every command with a report shares, and the settings that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from modellint.core.config import Settings
from modellint.core.diagnostic import Severity
from modellint.core.nearest import Nearest
from modellint.report import FORMATS

from .output import NEVER

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--select", multiple=True, metavar="RULE", help="Only these rules: names, codes or starts of codes, by commas."
    ),
    click.option("--ignore", multiple=True, metavar="RULE", help="Not these rules."),
    click.option("--extend-select", multiple=True, metavar="RULE", help="These rules too."),
    click.option("--output-format", type=click.Choice(FORMATS), default="full", show_default=True),
    click.option("--output-file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there."),
    click.option(
        "--fail-on",
        type=click.Choice([*(str(level) for level in reversed(Severity)), NEVER]),
        default="warning",
        show_default=True,
        help="The lowest level that makes the exit code 1; what is only suspected is a note.",
    ),
    click.option("--exit-zero", is_flag=True, help="Exit 0 even with findings."),
    click.option("--isolated", is_flag=True, help="Read no pyproject.toml."),
)


def reporting(command: Command) -> Command:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def nearest(options: dict[str, Any]) -> Nearest:
    only = Settings(root=Path().resolve()) if options["isolated"] else None
    return Nearest(only, **{name: tuple(_parts(options[name])) for name in ("select", "ignore", "extend_select")})


def _parts(given: Iterable[str]) -> Iterator[str]:
    """`--select ML1,ML2` and `--select ML1 --select ML2` are the same."""
    yield from (part.strip() for several in given for part in several.split(",") if part.strip())


def settings(options: dict[str, Any]) -> Settings:
    return nearest(options).here
