"""`modellint baseline`: a recorded run is kept as the reference of a target."""

from __future__ import annotations

from pathlib import Path

import click

from modellint.cli import kept


@click.command("baseline", short_help="Keep a recorded run under a name.")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("name", required=False)
def command(run: Path, name: str | None) -> None:
    """Keep a recorded run under a NAME (that of its script, if none is given): `modellint compare NAME RUN` reads it.

    It is one file below .modellint/, which may be committed.
    """
    click.echo(f"kept as {kept.keep(run, name)}")
