"""ML332."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.core.pattern import pattern
from modellint.measure.asmade import as_made
from modellint.measure.cast import Optimizer, Parameter

ADAPTERS = pattern(r"lora|adapter|prompt|prefix|ia3", re.I)  # what is trained alone, within a model that stays


def _run(loose: bool, *others: Parameter) -> Run:
    body = Parameter("body.weight", (8, 8), optimizer=0, module_class="Linear")
    head = Parameter("head.weight", (3, 8), loose=loose, module="head", module_class="Linear")
    steps = tuple(Step(index, gradients={"body.weight": 0.1}) for index in range(5))
    return Run(steps=steps, parameters=(body, head, *others), optimizers=(Optimizer(),))


def _parts(*parts: Parameter) -> Run:
    return Run(tuple(map(Step, range(5))), parts, (Optimizer(),))


def _held(name: str) -> Parameter:
    return Parameter(f"{name}.weight", (64, 64), name, "Linear", optimizer=0)


def _left(name: str, fresh: bool = True) -> Parameter:
    return Parameter(f"{name}.weight", (64, 64), name, "Linear", fresh=fresh, loose=True)


def _replaced(gradient: float | None) -> Run:
    old, new = (Parameter("body.weight", (8, 8), "body", "Linear", optimizer=held) for held in (0, None))
    return Run(
        tuple(Step(n, gradients={"body.weight": gradient if n else 0.1}) for n in range(5)), (old, new), (Optimizer(),)
    )


_BIAS = Parameter("stem.bias", (64,), "stem", "Linear", optimizer=0)
_STALE = Parameter("parameter_2", (10, 8), optimizer=0)


class LooseParameters(RuntimeRule):
    """The loss gives gradients to parameters that no optimizer holds.

    Why: their gradients are computed and never used: layers that were added after the optimizer was made, or that are
        kept in a plain list, stay as they were initialised.
    Fix: register modules (`nn.ModuleList`), build the optimizer last and over all of them; what is meant to stay as it
        is gets `requires_grad_(False)`, which saves the gradients, too.
    Ignore: a head that is trained alone on a backbone whose gradients are left on: hence a note, unless reading the
        script finds why.
    Thresholds: a warning in two cases. An optimizer holds, instead of it, a tensor that can have stood in its place: it belongs
        to no module, is as large but for its first axis, and never gets a gradient; or it went by the same name and gets none
        any more. A layer was replaced, or moved, after the optimizer had been made. Or what is left out comes after what is
        trained, in the order of the model, and stays at the random values that it was made with: matrices of at least `share`
        = 5 % of the model's weights, without a trained twin, in a process that has loaded nothing, and what is trained are no
        adapters.
    Reported: https://github.com/pytorch/pytorch/issues/3358
    """

    code, severity = "ML332", Severity.NOTE
    needs = "the graph of a loss at the third step"
    share = 0.05
    bad = (
        _run(True),
        _run(True, _STALE),
        _parts(_held("stem"), _left("blocks.0"), _left("head")),
        _parts(_BIAS, _left("stem")),
        _replaced(None),
    )
    good = (_run(False), Run(steps=(Step(2),)), _replaced(0.1))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        swapped = _swapped(run)
        loose = [parameter for parameter in run.parameters if parameter.loose or parameter in swapped]
        if not run.optimizers or max((step.index for step in run.steps), default=0) < 2:
            return
        if loose:
            yield self._finding(run, loose, swapped)
        else:
            yield self.passed("every parameter that the loss reaches is held by an optimizer")

    def _finding(self, run: Run, loose: list[Parameter], swapped: list[Parameter]) -> Diagnostic:
        replaced = swapped or [new for new in loose if any(_stood_in(run, old, new) for old in run.parameters)]
        forgotten = [] if replaced else self._forgotten(run, loose)
        first, total = (replaced or forgotten or loose)[0], sum(parameter.requires_grad for parameter in run.parameters)
        evidence = Evidence("parameter tensors with a gradient that no optimizer holds", len(loose), 0)
        place = first.location if first.location.path else run.place("backward", first.module or None)
        message = f"{len(loose)} of {total} trainable parameter tensors are in no optimizer, first {first.name}"
        message += ": the optimizer holds others, which are in no model any more" if replaced else ""
        message += ", which stays at the random values that it was made with" if forgotten else ""
        severity = Severity.WARNING if replaced or forgotten else None
        return self.convict(place, message, evidence, severity=severity)

    def _forgotten(self, run: Run, loose: Sequence[Parameter]) -> list[Parameter]:
        """Fresh matrices of a model behind others that are trained; those before may stand in for a pretrained body."""
        weights = [each for each in run.parameters if each.is_weight and each.module_class]
        trained = [index for index, each in enumerate(weights) if each.optimizer is not None]
        held = [each for each in run.parameters if each.optimizer is not None and each.module_class]
        if not held or any(ADAPTERS.search(each.name) for each in held):
            return []
        first = (
            trained[0] if trained else 0
        )  # biases and norms alone are trained of what is pretrained, not of what is fresh
        behind = as_made(run, [each for each in weights[first:] if each in loose])
        return behind if _size(behind) >= self.share * _size(weights) else []


def _size(parameters: Sequence[Parameter]) -> int:
    return sum(math.prod(each.shape) for each in parameters)


def _swapped(run: Run) -> list[Parameter]:
    """Those in no optimizer that go by the name of one that an optimizer holds, and that has no gradient any more."""
    late = [step for step in run.steps if step.index >= 2]
    silent = {
        name
        for step in late
        for name, norm in step.gradients.items()
        if norm is None and not any(other.gradients.get(name) for other in late)
    }
    held = {each.name for each in run.parameters if each.optimizer is not None}
    return [p for p in run.parameters if p.optimizer is None and p.requires_grad and p.name in silent & held]


def _stood_in(run: Run, old: Parameter, new: Parameter) -> bool:
    """Whether an optimizer still holds `old`, of no module, where `new` is now."""
    orphaned = old.optimizer is not None and not old.module_class and old.requires_grad and old.is_weight
    fits = len(old.shape) == len(new.shape) and old.shape[1:] == new.shape[1:]
    return orphaned and fits and not any(step.gradients.get(old.name) for step in run.steps)
