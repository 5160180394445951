"""The commands: each is a module of `commands/`, imported when it is called."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path

import click

from modellint import __version__


class Commands(click.Group):
    """The modules beside this one; what a command needs is loaded with it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(file.stem for file in (Path(__file__).parent / "commands").glob("[!_]*.py"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            near = difflib.get_close_matches(cmd_name, self.list_commands(ctx), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.list_commands(ctx))}"
            ctx.fail(f"No such command {cmd_name!r}; {hint}")
        command: click.Command = importlib.import_module(f".commands.{cmd_name}", __package__).command
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="modellint")
def cli() -> None:
    """A linter for PyTorch training: suspect by reading, convict by measuring, prove by re-running.

    Exit codes: 0 clean, 1 findings, 2 usage, configuration, or a probe that could not run to its end.
    """
