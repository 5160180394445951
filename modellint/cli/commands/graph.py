"""`modellint graph`: the recorded graph with the findings drawn in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modellint import pipeline
from modellint.cli.reporting import settings
from modellint.core.errors import UsageError
from modellint.core.plain import from_plain
from modellint.report.drawing import DRAWINGS


@click.command("graph", short_help="Draw the graph of a model, with its findings.")
@click.argument("run", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--target", metavar="PKG.MODULE:FACTORY", help="Record one forward and loss of what it returns.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="FILE.svg, FILE.txt or FILE.json.")
@click.option("--python", metavar="EXE", help="The interpreter that has torch (default: that of modellint).")
@click.option("--isolated", is_flag=True, help="Read no pyproject.toml.")
def command(run: Path | None, target: str | None, output: Path | None, python: str | None, isolated: bool) -> None:
    """Draw the graph of a recorded RUN (its folder or run.json), or of a model that is not trained for it."""
    if (run is None) == (target is None):
        raise UsageError("name either a recorded run or a --target")
    kind = output.suffix[1:] if output else "txt"
    if kind not in DRAWINGS:
        raise UsageError(f"{output}: the name must end in {', '.join('.' + name for name in DRAWINGS)}")
    text = DRAWINGS[kind](*_drawn(run, target, python, isolated))
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output}: the graph cannot be written: {error.strerror}") from None


def _drawn(run: Path | None, target: str | None, python: str | None, isolated: bool) -> tuple[Any, Any, str]:
    """The graph, its findings, and the graph as torch.fx prints it, where that is known."""
    from modellint.graph.graph import Graph
    from modellint.measure import nodes, still
    from modellint.measure.run import Run

    none: tuple[str, ...] = ()
    chosen = settings({"isolated": isolated, "select": none, "ignore": none, "extend_select": none})
    taken = still.take(target, python) if target else None
    watched = Run(graph=taken.graph) if taken else nodes.load(run or Path())
    if watched.graph is None:
        raise UsageError(f"{run}: no graph of a training step was recorded")
    found = pipeline.judge(watched, chosen, source=False).diagnostics
    graph_rules = {rule.name for rule in pipeline.chosen(chosen) if rule.code.startswith("ML2")}
    return from_plain(Graph, watched.graph), [d for d in found if d.rule in graph_rules], taken.code if taken else ""
