"""Script: the facts of one source file, what is written in it and what linking it with other files adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from modellint.core.diagnostic import Problem
from modellint.core.record import dataclass, field
from modellint.core.suppress import Ignore

from .code import Class, Function, Value
from .facts import Average, Decision, Evaluation, Loader, Loss, Mask, Model, Optimizer, Option, TrainingLoop


@dataclass(frozen=True, slots=True)
class Script:
    """A source file: first what is written in it, then what `link` found with the files that it imports."""

    path: str
    problem: Problem | None = None  # the file cannot be read or parsed: there are no facts
    broken: tuple[Problem, ...] = ()  # cells of a notebook that cannot be parsed: there are facts of the others
    imports: Mapping[str, str] = field(default_factory=dict)  # local name -> full name
    functions: tuple[Function, ...] = ()  # the module's own body first
    classes: tuple[Class, ...] = ()
    attributes: frozenset[str] = frozenset()  # all attribute names and short strings in the file
    called: frozenset[str] = frozenset()  # the methods of all calls in the file: `step` of `self.opt.step()`
    ignores: tuple[Ignore, ...] = ()
    training_loops: tuple[TrainingLoop, ...] = ()
    entered_loops: tuple[TrainingLoop, ...] = ()  # those of other files that its loops come to
    evaluations: tuple[Evaluation, ...] = ()
    optimizers: tuple[Optimizer, ...] = ()
    trainers: tuple[Optimizer, ...] = ()  # those that its training loops step, made here or in another file
    losses: tuple[Loss, ...] = ()
    objectives: tuple[Loss, ...] = ()  # those that its training loops minimise, called here or in another file
    models: tuple[Model, ...] = ()
    options: tuple[Option, ...] = ()
    loaders: tuple[Loader, ...] = ()
    masks: tuple[Mask, ...] = ()
    averages: tuple[Average, ...] = ()
    decisions: tuple[Decision, ...] = ()
    logged: frozenset[str] | None = None  # by LightningModules that it can reach; None: not all can be read
    used: frozenset[str] = frozenset()  # files that were looked for, there or not, besides those that were given

    @property
    def calls(self) -> Iterator[Value]:
        return chain.from_iterable(function.calls for function in self.functions)
