"""The options of `check` that say which files are read, from where, and what is done with what is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option("--no-cache", is_flag=True, help="Read everything anew, and remember nothing."),
    click.option("--statistics", is_flag=True, help="Show how often each rule was found instead of where."),
    click.option("--show-files", is_flag=True, help="List the files that would be read, and end."),
    click.option("--show-settings", is_flag=True, help="Show the settings that hold for the files, and end."),
    click.option(
        "--force-exclude", is_flag=True, help="Leave out what is excluded even where it is named, as hooks do."
    ),
    click.option("--stdin-filename", metavar="NAME", help="The file that standard input (`-`) is to be taken for."),
    click.option("--watch", is_flag=True, help="Check again whenever a file changes."),
    click.option("--add-ignores", is_flag=True, help="Write an ignore comment behind each line with a finding."),
    click.option(
        "--baseline",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Only findings that are not in FILE count.",
    ),
    click.option("--write-baseline", is_flag=True, help="Write all findings to the file of --baseline, and end."),
)


def checking(command: Command) -> Command:
    for option in reversed(OPTIONS):
        command = option(command)
    return command
