"""Scripts to linked Scripts: what their functions, classes and values mean together, across the files of a project."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from .facts import TrainingLoop
from .project import Project
from .resolve import Resolver
from .script import Script
from .training import training_loops


def together(scripts: Iterable[Script], load: Callable[[Path], Script | None]) -> Iterator[Script]:
    """Each of `scripts` with its linked facts; files that they import are loaded when a name in them is needed."""
    given = list(scripts)
    project = Project((script for script in given if not script.problem), load)
    loops = list(training_loops(Resolver(project)))
    for script in given:
        yield script if script.problem else replace(script, training_loops=tuple(_in(script, loops)))


def _in(script: Script, loops: Iterable[TrainingLoop]) -> Iterator[TrainingLoop]:
    return (loop for loop in loops if loop.location.path == script.path)
