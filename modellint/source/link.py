"""Scripts to linked Scripts: what their functions, classes and values mean together, across the files of a project."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .evaluation import Evaluations
from .facts import Evaluation, Loss, Optimizer, TrainingLoop, path_of
from .loaders import Loaders
from .logged import Logged
from .losses import Losses
from .models import Models
from .optimizers import Optimizers
from .options import Options
from .project import Project
from .resolve import Resolver
from .script import Script
from .trace import Tracer
from .training import traces, trained, training_loops

DEEPEST = 4000  # calls within calls, of values through functions, attributes and files


def together(
    scripts: Iterable[Script],
    load: Callable[[Path], Script | None],
    calling: Callable[[Mapping[str, str]], Iterable[Path]] = lambda _: (),
) -> Iterator[Script]:
    """Each of `scripts` with its linked facts; files that they import are loaded when a name in them is needed.

    `calling` gives the other files that call one of some names (each with the name of its module).
    """
    given = list(scripts)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), DEEPEST))
    project = Project((script for script in given if not script.problem), load)
    resolver = Resolver(project)
    models = Models(resolver)
    tracer = Tracer(resolver, models)
    for path in list(calling(trained(tracer.relevance))):
        project.load_caller(path)
    traced = list(traces(tracer))
    loops = list(training_loops(traced, project))
    evaluations = Evaluations(project).of(traced)
    facts = _Facts(resolver, models, loops, evaluations)
    linked = [script if script.problem else facts.added(script) for script in given]
    options, used = Options(project), project.used  # now that all files are loaded: any of them may read an option
    for script, found in zip(given, linked, strict=True):
        yield replace(found, used=used, options=() if script.problem else tuple(options.of(script)))


class _Facts:
    def __init__(
        self,
        resolver: Resolver,
        models: Models,
        loops: Sequence[TrainingLoop],
        evaluations: Sequence[Evaluation],
    ) -> None:
        self.resolver = resolver
        self.loops = loops
        self.evaluations = evaluations
        self.models = models
        self.optimizers = Optimizers(resolver, self.models)
        self.losses = Losses(resolver)
        self.loaders = Loaders(resolver, loops)
        self.logged = Logged(resolver.project, resolver.members)
        self._made: dict[int, tuple[Optimizer, ...]] = {}
        self._called: dict[int, tuple[Loss, ...]] = {}

    def added(self, script: Script) -> Script:
        self.resolver.forget()
        loops = tuple([loop for loop in self.loops if loop.location.path == script.path])
        return replace(
            script,
            training_loops=loops,
            evaluations=tuple(found for found in self.evaluations if found.location.path == script.path),
            models=tuple(self.models.of(script)),
            optimizers=self._optimizers(script),
            trainers=tuple(self._trainers(loops)),
            losses=self._losses(script),
            objectives=tuple(self._objectives(loops)),
            loaders=tuple(self.loaders.of(script)),
            logged=self.logged.of(script),
        )

    def _optimizers(self, script: Script) -> tuple[Optimizer, ...]:
        if id(script) not in self._made:
            steps = [step for loop in self.loops for step in loop.steps]
            found = self.optimizers.of(script)
            self._made[id(script)] = tuple([replace(o, looped=any(map(o.made, steps))) for o in found])
        return self._made[id(script)]

    def _losses(self, script: Script) -> tuple[Loss, ...]:
        if id(script) not in self._called:
            self._called[id(script)] = tuple(self.losses.of(script))
        return self._called[id(script)]

    def _trainers(self, loops: Iterable[TrainingLoop]) -> Iterator[Optimizer]:
        steps = [step for loop in loops for step in loop.steps]
        paths: set[str | None] = {path_of(subject) for step in steps for subject in step.subjects}
        for script in self._scripts(paths):
            yield from (made for made in self._optimizers(script) if any(map(made.made, steps)))

    def _objectives(self, loops: Iterable[TrainingLoop]) -> Iterator[Loss]:
        values = [part.value for loop in loops for act in loop.of("backward") for part in act.summands]
        for script in self._scripts({value.location.path for value in values}):
            yield from (loss for loss in self._losses(script) if any(loss.call is value for value in values))

    def _scripts(self, paths: Collection[str | None]) -> Iterator[Script]:
        return (script for script in self.resolver.project.scripts if script.path in paths)
