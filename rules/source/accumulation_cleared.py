"""ML191."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import lookup, microbatches
from modellint.source.facts import Act, TrainingLoop


class AccumulationCleared(SourceRule):
    """Gradients are cleared with every batch, and stepped with every few batches only.

    Why: what `backward()` adds is taken away before the step: only the last batch of each group is learned from, the others
        are computed for nothing. Where the loss is divided by their number, the steps are as many times too small besides.
    Fix: clear the gradients where they are stepped with, in the same `if`.
    Ignore: never.
    Reported: https://discuss.pytorch.org/t/why-do-we-need-to-set-the-gradients-manually-to-zero-in-pytorch/4903
    """

    code, severity, certain, topic = "ML191", Severity.WARNING, True, "gradients"
    explains = ("loss-not-falling",)
    words = ((".backward(", "zero"),)
    bad = (
        """
        for i, (x, y) in enumerate(loader):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y) / 4
            loss.backward()
            if (i + 1) % 4 == 0:
                optimizer.step()
        """,
        """
        class Trainer:
            def fit(self):
                for i, (x, y) in enumerate(self.loader):
                    self.model.zero_grad()
                    self.accelerate(x, y)
                    if i % self.every == self.every - 1:
                        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                        self.optimizer.step()

            def accelerate(self, x, y):
                (self.criterion(self.model(x), y) / self.every).backward()
        """,
        """
        for i, (x, y) in enumerate(loader):
            (F.cross_entropy(model(x), y) / 4).backward()
            if (i + 1) % 4 == 0:
                optimizer.step()
                scheduler.step()
            optimizer.zero_grad()
        """,
        """
        for i, (x, y) in enumerate(loader):
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y) / 4).backward()
            if (i + 1) % 4 == 0:
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
        """,
        """
        for step in range(5000):
            for micro in range(8):
                optimizer.zero_grad(set_to_none=True)
                x, y = get_batch()
                (F.cross_entropy(model(x), y) / 8).backward()
            optimizer.step()
        """,
    )
    good = (
        """
        for step in range(5000):
            optimizer.zero_grad()
            for micro in range(8):
                x, y = get_batch()
                (F.cross_entropy(model(x), y) / 8).backward()
            optimizer.step()
        for x, y in loader:
            for k in range(7):  # looks for the worst point near by
                optimizer.zero_grad()
                F.cross_entropy(model(x + delta), y).backward()
                delta = move(delta)
            optimizer.step()
        """,
        """
        for i, (x, y) in enumerate(loader):
            loss = F.cross_entropy(model(x), y) / 4
            loss.backward()
            if i == 0:
                optimizer.zero_grad()
            if i % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        for i, (x, y) in enumerate(loader):
            loss = F.cross_entropy(model(x), y) / 4
            if i == 0:
                optimizer.zero_grad()
            loss.backward()
            if i % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        for i, (x, y) in enumerate(loader):
            loss = F.cross_entropy(model(x), y) / 4
            loss.backward()
            if (i + 1) % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        for i, (x, y) in enumerate(loader):
            if i % 4 == 0:
                optimizer.zero_grad()
            (F.cross_entropy(model(x), y) / 4).backward()
            if i % 4 == 3:
                optimizer.step()
        """,
        """
        for step in range(100000):  # it acts in each pass, and learns in every fourth
            optimizer.zero_grad()
            act(q)
            if step % 4 == 0:
                F.smooth_l1_loss(q(states()), targets()).backward()
                optimizer.step()
        """,
        """
        for i, real in enumerate(loader):  # the generator learns with every fifth batch
            generator_optimizer.zero_grad()
            critic_optimizer.zero_grad()
            (critic(generator(noise())).mean() - critic(real).mean()).backward()
            critic_optimizer.step()
            if i % 5 == 0:
                generator_optimizer.zero_grad()
                (-critic(generator(noise())).mean()).backward()
                generator_optimizer.step()
        """,
        """
        def make(model, optimizer, train):  # one function serves both, and learns in every pass
            def run(batch):
                if train:
                    optimizer.zero_grad()
                    F.cross_entropy(model(batch.x), batch.y).backward()
                    optimizer.step()
            return run

        learn, measure = make(model, optimizer, True), make(model, optimizer, False)
        for step, batch in enumerate(loader):
            learn(batch)
            if step % 100 == 0:
                measure(next(held_out))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            steps = {step.location: step for step in loop.steps}
            yield from self._micro(script, loop)
            known = loop.whole and not any(act.owner or act.kind == "unknown" for act in loop.acts)
            if known and len(steps) == 1 and all(map(_counted, loop.steps)):
                (step,) = steps.values()
                for clear in _wasting(loop, step):
                    message = f"clears in each pass what is stepped with in some of them (line {step.location.line})"
                    yield self.at(clear, message, certain=lookup.share_function(script, clear, step))

    def _micro(self, script: Script, loop: TrainingLoop) -> Iterator[Diagnostic]:
        """What a loop over micro-batches clears before each backward(), where the step comes behind the loop."""
        if any(act.owner or act.kind == "unknown" for act in loop.acts):
            return
        for step in loop.steps:
            for clear in (act for act in loop.before(step) if act.kind == "clear" and act.concerns(step)):
                if set(clear.branches) <= set(step.branches) and microbatches.gathers(script, clear, step):
                    backwards = [
                        act for act in loop.after(clear) if act.kind == "backward" and act.loops == clear.loops
                    ]
                    if backwards and not any(act.kind == "step" and act.loops == clear.loops for act in loop.acts):
                        yield self.at(
                            clear,
                            f"clears what all but the last micro-batch gave (the step is in line {step.location.line})",
                        )


def _wasting(loop: TrainingLoop, step: Act) -> Iterator[Act]:
    """A clear before the backward() of a pass or after the step, all of which but the step every pass comes to."""
    before, after = _always(loop.before(step), step), _always(loop.after(step), step)
    backwards = [place for place, act in enumerate(before) if act.kind == "backward"]
    if backwards and not any(act.kind == "backward" for act in after):
        clears = (act for act in (*before[backwards[-1] :], *after) if act.kind == "clear" and act.concerns(step))
        yield from (act for act in clears if set(act.branches) <= set(step.branches))  # not in the first pass alone


def _always(acts: Iterable[Act], step: Act) -> list[Act]:
    return [act for act in acts if act.loops == step.loops and not _counted(act)]


def _counted(act: Act) -> bool:
    """Whether only some passes come to it, by their number."""
    return any("%" in branch[0] for branch in act.branches)
