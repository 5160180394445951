"""`modellint probe`: the user's own command under hooks."""

from __future__ import annotations

from typing import Any

import click

from modellint import pipeline
from modellint.cli.launching import launch_options, launching
from modellint.cli.output import finish
from modellint.cli.proving import proven, proving
from modellint.cli.reporting import reporting, settings
from modellint.cli.status import launched


class Probe(click.Command):
    """Options before `--` are modellint's, all that follows it is the user's; nothing is guessed in between."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        command = next((arg for arg in args if not arg.startswith("-")), "train.py")
        dashed = "--" in args
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = (
                "" if dashed else f" The options of your own command go behind `--`: modellint probe -- {command} ..."
            )
            raise click.NoSuchOption(error.option_name, f"{error.message}{hint}", ctx=ctx) from error


@click.command("probe", short_help="Run your own command for ten steps, watched.", cls=Probe)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Optimizer steps to watch.")
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Watch as many steps again when something new comes: an evaluation, a second epoch, a new optimizer.",
)
@click.option("--finish", is_flag=True, help="Let the script run to its own end after the watched steps.")
@proving
@reporting
@launching
def command(command: tuple[str, ...], **options: Any) -> None:
    """Run your own training command for a few real steps under hooks, and report what was read and measured.

    COMMAND is anything that trains (`-- python train.py --lr 0.1`, `-- torchrun ...`), or just a script: `train.py`.
    """
    chosen = settings(options)
    if options["prove"]:
        report, run = proven(command, launch_options(options), options["budget"], chosen)
    else:
        run = launched(command, launch_options(options))
        report = pipeline.judge(run, chosen)
    finish(report, options, chosen, run=run)
