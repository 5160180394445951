"""ML196."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value
from modellint.source.vocabulary import sounds_like_optimizer

DIFFERENTIATES = pattern(r"\w*backward\w*|grad|\w*jacobian\w*|[vj][vj]p|value_and_grad|\w*grad_and\w*|\w*grad_fn")
# Calls that are given a loss and only read it.
READING = pattern(
    r"print|format|append|float|str|isnan|isfinite|update\w*|add\w*|log\w*|set_\w+|info|write\w*|record\w*|debug|all_reduce|reduce\w*"
)

LOSS = pattern(r"(\w+_)?(loss|cost|err)(es)?(_\w+)?")
TRAINS = pattern(r"\w*(train|step|update|fit|learn|optim|accum|closure)\w*", re.IGNORECASE)


class MissingBackward(SourceRule):
    """A loop computes a loss, clears the gradients and steps the optimizer, and never calls `backward()`.

    Why: without `backward()` there are no gradients: `step()` skips every parameter, and nothing is ever learned. The loss is
        printed all the same, and wanders with the batches.
    Fix: `loss.backward()` between `zero_grad()` and `step()`.
    Ignore: when gradients are written by hand out of sight.
    Reported: https://github.com/Goingqs/PyramidBox/issues/7, https://github.com/aalto-intelligent-robotics/sivl/issues/2
    """

    code, severity, certain, topic = "ML196", Severity.ERROR, True, "gradients"
    explains = ("loss-not-falling",)
    words = (("zero_grad(", ".step("),)
    bad = (
        """
        for epoch in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                optimizer.step()
                print(loss.item())
        """,
        """
        class Trainer:
            def epoch(self, criterion=nn.MSELoss()):
                for x, y in self.loader:
                    loss = criterion(self.net(x), y)
                    self.optimizer.zero_grad()
                    self.optimizer.step()
                    self.losses.append(float(loss))
        """,
        """
        class Net(nn.Module):
            def train_step(self, batch):
                self.optimizer.zero_grad()
                scores, labels = self(batch)
                loss = self._loss(scores, labels)
                self.optimizer.step()
                return loss
        """,
    )
    good = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss = learner.train_on(x, y)
            optimizer.step()
            print(loss)
        """,
        """
        def step(batch):
            optimizer.step()
            scheduler.step()
            loss = distance(net(batch), batch)
            engine.run(loss)
            optimizer.zero_grad()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            with scaled(F.cross_entropy(model(x), y)) as loss:  # goes back when it is left
                print(loss.item())
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            propagate(loss)
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            for p, g in zip(model.parameters(), torch.autograd.grad(loss, model.parameters())):
                p.grad = g
            optimizer.step()
        """,
        """
        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss

        for _ in range(20):
            optimizer.zero_grad()
            optimizer.step(closure)
            print(F.mse_loss(model(x), y))
        """,
        """
        for x, y in loader:  # the loss that is minimised is that of the model
            optimizer.zero_grad()
            shown = F.cross_entropy(model(x).logits, y)
            model.learn(x, y, optimizer)
            optimizer.step()
        """,
    )
    confirmed_by = Run((Step(0, backwards=0), Step(1, backwards=0)))
    not_confirmed_by = Run((Step(0), Step(1)))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not script.called >= {"zero_grad", "step"}:
            return
        losses = {id(loss.call) for loss in script.losses if loss.kind}
        for function in script.functions:
            if function.kind in ("function", "module") and not _differentiates(function):
                known = list(_stepped(function, losses)) if losses else []
                named = _stepped(function, ()) if not known and "backward" not in script.called else ()
                for step in (*known, *named):
                    message = "steps the optimizer where nothing calls `backward()`"
                    yield self.at(step, message, certain=bool(known))

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        if not run.steps:
            return None
        without, count = sum(step.backwards == 0 for step in run.steps), len(run.steps)
        return Evidence("steps without a backward() before them", without, count, holds=without == count)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Before the step, where the loss has a name."""
        for function in script.functions:
            step = next((call for call in function.calls if call.location == finding.location), None)
            made = {id(loss.call): loss for loss in script.losses if loss.kind}
            named = [e for e in function.events if e.kind == "assign" and id(e.value) in made]
            if step is not None and len(named) == 1 and named[0].name.isidentifier():
                return Fix((edit.insert(f"{named[0].name}.backward()", of=step, before=step),))
        return None


def _stepped(function: Function, losses: Container[int]) -> Iterator[Value]:
    """The steps in the innermost loops of a function that clear gradients and compute a loss that is only read.

    Where no loss of torch is known, all of a function counts as the body of a loop that may be around its calls.
    """
    seen = set[int]()
    loops = [b for b, block in enumerate(function.blocks) if block.kind in ("for", "while") or (b == 0 and not losses)]
    for loop in reversed(loops):
        events = [event for _, event in function.inside(loop)]
        calls = [event.value for event in events if event.kind == "call" and event.value is not None]
        steps = [call for call in calls if call.method == "step" and id(call) not in seen]
        seen.update(map(id, steps))
        names = {e.name for e in events if e.kind in ("assign", "augment") and _is_loss(e, losses)}
        if names and not any(_uses(call, names, losses) for call in calls):
            cleared = {str(call.receiver) for call in calls if call.method == "zero_grad"}
            yield from (s for s in steps if _is_bare(s) and str(s.receiver) in cleared)


def _is_loss(event: Event, losses: Container[int]) -> bool:
    """Whether a name is bound to what a loss of torch gives; where none is known, whether it is called so."""
    value = event.value
    if losses or value is None:
        return value is not None and any(id(part) in losses for part in value.within())
    named = LOSS.fullmatch(event.name) is not None and value.kind != "context"  # that may go back when it is left
    return named and not any(part.kind == "call" and TRAINS.fullmatch(part.method) for part in value.within())


def _differentiates(function: Function) -> bool:
    """Whether a function makes gradients in any way, or hands on how it is done."""
    made = any(DIFFERENTIATES.fullmatch(call.method) or "closure" in call.method for call in function.calls)
    return made or any(".grad" in event.name for event in function.events)


def _is_bare(step: Value) -> bool:
    """`optimizer.step()`, without a closure."""
    given = step.arguments or step.keywords
    return not given and step.receiver is not None and sounds_like_optimizer(str(step.receiver))


def _uses(call: Value, names: set[str], losses: Container[int]) -> bool:
    """Whether a call may do more with the loss, or with an optimizer, than read it."""
    if call.name.startswith(("torch.", "numpy.")) or READING.fullmatch(call.method) or "save" in call.method:
        return False
    arguments = (*call.arguments, *(value for _, value in call.keywords))
    given = [part for argument in arguments for part in argument.within()]
    return any(id(argument) in losses for argument in arguments) or any(
        part.name in names or (part.kind == "name" and sounds_like_optimizer(part.name)) for part in given
    )
