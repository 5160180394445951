"""Scripts to linked Scripts: what their functions, classes and values mean together, across the files of a project."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from .facts import TrainingLoop
from .loaders import Loaders
from .losses import Losses
from .models import Models
from .optimizers import Optimizers
from .options import Options
from .project import Project
from .resolve import Resolver
from .script import Script
from .training import training_loops

DEEPEST = 4000  # calls within calls, of values through functions, attributes and files


def together(scripts: Iterable[Script], load: Callable[[Path], Script | None]) -> Iterator[Script]:
    """Each of `scripts` with its linked facts; files that they import are loaded when a name in them is needed."""
    given = list(scripts)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), DEEPEST))
    project = Project((script for script in given if not script.problem), load)
    resolver = Resolver(project)
    loops = list(training_loops(resolver))
    facts = _Facts(resolver, loops)
    for script in given:
        yield script if script.problem else facts.added(script, loops)


class _Facts:
    def __init__(self, resolver: Resolver, loops: Iterable[TrainingLoop]) -> None:
        self.models = Models(resolver)
        self.optimizers = Optimizers(resolver, self.models)
        self.losses = Losses(resolver)
        self.options = Options(resolver.project)
        self.loaders = Loaders(resolver, loops)

    def added(self, script: Script, loops: Iterable[TrainingLoop]) -> Script:
        return replace(
            script,
            training_loops=tuple(loop for loop in loops if loop.location.path == script.path),
            models=tuple(self.models.of(script)),
            optimizers=tuple(self.optimizers.of(script)),
            losses=tuple(self.losses.of(script)),
            options=tuple(self.options.of(script)),
            loaders=tuple(self.loaders.of(script)),
        )
