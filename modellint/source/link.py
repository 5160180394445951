"""Scripts to linked Scripts: what their functions, classes and values mean together, across the files of a project."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from .facts import TrainingLoop
from .models import Models
from .project import Project
from .resolve import Resolver
from .script import Script
from .training import training_loops


def together(scripts: Iterable[Script], load: Callable[[Path], Script | None]) -> Iterator[Script]:
    """Each of `scripts` with its linked facts; files that they import are loaded when a name in them is needed."""
    given = list(scripts)
    project = Project((script for script in given if not script.problem), load)
    resolver = Resolver(project)
    models = Models(resolver)
    loops = list(training_loops(resolver))
    for script in given:
        if not script.problem:
            script = replace(script, training_loops=tuple(_in(script, loops)), models=tuple(models.of(script)))
        yield script


def _in(script: Script, loops: Iterable[TrainingLoop]) -> Iterator[TrainingLoop]:
    return (loop for loop in loops if loop.location.path == script.path)
