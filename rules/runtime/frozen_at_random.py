"""ML338."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.asmade import as_made
from modellint.measure.cast import Parameter


def _run(*parameters: Parameter) -> Run:
    return Run(steps=(Step(), Step(1)), parameters=parameters)


def _frozen(name: str, *shape: int, fresh: bool = True) -> Parameter:
    return Parameter(name, shape or (64, 64), name.rpartition(".")[0], "Linear", requires_grad=False, fresh=fresh)


_HEAD = Parameter("head.weight", (10, 64), "head", "Linear", optimizer=0)


class FrozenAtRandom(RuntimeRule):
    """A part of the model is frozen at the random values that it was made with.

    Why: freezing is for weights that were trained before. What is frozen at random never learns, and what is trained on top of
        it has to make do with random features.
    Fix: load the pretrained weights before freezing; look at the condition that chooses what is frozen, and at the names that it
        compares.
    Ignore: when random features are what is studied. Networks whose names say that they are meant to stay (target, teacher,
        random, ...) or that have a trained twin of the same shapes are left out.
    Thresholds: the frozen matrices have never been in an optimizer, nothing was loaded in the process, and their values are
        spread as torch's initialisations spread them (kurtosis within 4 standard errors of a uniform or a normal one). It is
        a note, because a body made at random may stand in for a pretrained one, under a new head or under adapters.
    Reported: https://github.com/pytorch/vision/issues/2164
    """

    code, severity, topic = "ML338", Severity.NOTE, "structure"
    explains = ("loss-not-falling", "cannot-overfit")
    remedy = ("unfreeze",)
    needs = "weights that are frozen"
    bad = _run(_HEAD, _frozen("body.0.weight"), _frozen("body.2.weight"))
    good = (
        _run(_HEAD, _frozen("body.0.weight", fresh=False), _frozen("body.2.weight", fresh=False)),  # pretrained
        _run(_HEAD, _frozen("teacher.0.weight"), _frozen("teacher.2.weight")),
        _run(_HEAD, _frozen("key.head.weight", 10, 64)),  # follows the trained one
        _run(_HEAD, Parameter("body.weight", (64, 64), "body", "Linear", optimizer=0)),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        frozen = [each for each in run.parameters if each.is_weight and not each.requires_grad]
        if not frozen or not run.steps:
            return
        stuck = as_made(run, frozen)
        if stuck:
            part = _count(stuck) / _count(run.parameters)
            message = f"{part:.0%} of the weights are frozen at random values, from `{stuck[0].name}` on"
            evidence = Evidence("part of the weights that is frozen and as it was made", part, 0.0)
            yield self.convict(stuck[0].location, message, evidence)
        else:
            yield self.passed("what is frozen is not as it was made")


def _count(parameters: Sequence[Parameter]) -> int:
    return sum(math.prod(each.shape) for each in parameters)
