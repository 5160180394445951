"""The command line: thin; each command is a module of `commands/`, imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from modellint import __version__
from modellint.core.errors import UsageError

from .output import fail


class Commands(click.Group):
    """The modules beside this one; what a command needs is loaded with it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(file.stem for file in (Path(__file__).parent / "commands").glob("[!_]*.py"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f".commands.{cmd_name}", __name__).command
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="modellint")
def cli() -> None:
    """A linter for PyTorch training: suspect by reading, convict by measuring, prove by re-running.

    Exit codes: 0 clean, 1 findings, 2 usage, configuration, or a probe that could not run to its end.
    """


def main() -> NoReturn:
    """The console script: what a user can mend is one line and exit code 2, never a traceback of ours."""
    try:
        sys.exit(cli.main(standalone_mode=True))
    except UsageError as error:
        fail(str(error))
    except Exception as error:
        if os.environ.get("MODELLINT_DEBUG"):
            raise
        fail(
            f"internal error: {type(error).__name__}: {error} (MODELLINT_DEBUG=1 shows the traceback; please report it)"
        )
