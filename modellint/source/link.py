"""Scripts to linked Scripts: what their functions, classes and values mean together, across the files of a project."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from modellint.core.effort import TooMuchError, limited
from modellint.core.record import replace

from .averages import Averages
from .decisions import Decisions
from .evaluation import Evaluations
from .facts import Evaluation, Loss, Optimizer, TrainingLoop, path_of
from .loaders import Loaders
from .logged import Logged
from .losses import Losses
from .masks import Masks
from .models import Models
from .optimizers import Optimizers
from .options import Options
from .project import Load, Project
from .resolve import Resolver
from .script import Script
from .trace import Tracer
from .training import traces, trained, training_loops

HELPERS = 30  # functions of a file at most
Placed = TypeVar("Placed", TrainingLoop, Evaluation)
DEEPEST = 4000  # calls within calls, of values through functions, attributes and files


def together(
    scripts: Iterable[Script],
    load: Load,
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
    linked = [script if script.problem else facts.linked(script) for script in given]
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
        self.loops = _told(loops, {script.path for script in resolver.project.given})
        self.entered = _by_entry(loops)
        self.evaluations = _by_path(evaluations)
        self.steps = _steps(loops)
        self.models = models
        self.optimizers = Optimizers(resolver, self.models)
        self.losses = Losses(resolver)
        self.loaders = Loaders(resolver, loops)
        self.masks = Masks(resolver)
        self.averages = Averages(resolver)
        self.decisions = Decisions(resolver, self._losses)
        self.logged = Logged(resolver.project, resolver.members)
        self._made: dict[int, tuple[Optimizer, ...]] = {}
        self._called: dict[int, tuple[Loss, ...]] = {}

    def linked(self, script: Script) -> Script:
        """With its facts; as it is written where they come to no end."""
        try:
            with limited():
                return self._added(script)
        except TooMuchError:
            return script

    def _added(self, script: Script) -> Script:
        self.resolver.forget()
        loops = tuple(self.loops[script.path])
        return replace(
            script,
            training_loops=loops,
            entered_loops=tuple(self.entered[script.path]),
            evaluations=tuple(self.evaluations[script.path]),
            models=tuple(self.models.of(script)),
            optimizers=self._optimizers(script),
            trainers=tuple(self._trainers(loops)),
            losses=self._losses(script),
            objectives=tuple(self._objectives(loops)),
            loaders=tuple(self.loaders.of(script)),
            masks=tuple(self.masks.of(script)),
            averages=tuple(self.averages.of(script)),
            decisions=tuple(self.decisions.of(script)) if self._scores(script) else (),
            logged=self.logged.of(script),
        )

    def _scores(self, script: Script) -> bool:
        """Whether scores may be in the file: a model or a loss is called there, or it is a short one of helpers, no library."""
        called = self.loops[script.path] or self.evaluations[script.path] or self._losses(script)
        return bool(called) or len(script.functions) <= HELPERS

    def _optimizers(self, script: Script) -> tuple[Optimizer, ...]:
        if id(script) not in self._made:
            found = self.optimizers.of(script)
            self._made[id(script)] = tuple([replace(o, looped=o.spot in self.steps) for o in found])
        return self._made[id(script)]

    def _losses(self, script: Script) -> tuple[Loss, ...]:
        if id(script) not in self._called:
            self._called[id(script)] = tuple(self.losses.of(script))
        return self._called[id(script)]

    def _trainers(self, loops: Iterable[TrainingLoop]) -> Iterator[Optimizer]:
        steps = _steps(loops)
        for script in self.resolver.project.at(map(path_of, steps)):
            yield from (made for made in self._optimizers(script) if made.spot in steps)

    def _objectives(self, loops: Iterable[TrainingLoop]) -> Iterator[Loss]:
        backwards = (act for loop in loops for act in loop.of("backward"))
        values = {id(part.value): part.value for act in backwards for part in act.summands}
        for script in self.resolver.project.at(value.location.path for value in values.values()):
            yield from (loss for loss in self._losses(script) if id(loss.call) in values)


def _by_path(found: Iterable[Placed]) -> Mapping[str | None, list[Placed]]:
    table: dict[str | None, list[Placed]] = defaultdict(list)
    for each in found:
        table[each.location.path].append(each)
    return table


def _told(loops: Iterable[TrainingLoop], given: Collection[str]) -> Mapping[str | None, list[TrainingLoop]]:
    """By the file in which they lie; those of a file that is only read as a caller by the one in which they step."""
    table: dict[str | None, list[TrainingLoop]] = defaultdict(list)
    for loop in loops:
        steps = (step.location.path for step in loop.steps)
        table[next((path for path in (loop.location.path, *steps) if path in given), loop.location.path)].append(loop)
    return table


def _by_entry(loops: Iterable[TrainingLoop]) -> Mapping[str | None, list[TrainingLoop]]:
    """By the other files in which a loop around them lies."""
    table: dict[str | None, list[TrainingLoop]] = defaultdict(list)
    for loop in loops:
        for path in {place.path for place in loop.places} - {loop.location.path}:
            table[path].append(loop)
    return table


def _steps(loops: Iterable[TrainingLoop]) -> frozenset[str]:
    """Where what the loops step is made."""
    return frozenset(subject.rpartition(">")[2] for loop in loops for step in loop.steps for subject in step.subjects)
