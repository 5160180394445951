"""ML153."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Event, Function
from modellint.source.facts import TrainingLoop


class LoopLeftInFirstPass(SourceRule):
    """The training loop returns at the end of its first pass: only one batch is trained on.

    Why: a `return` that is indented once too far belongs to the loop and not to the function. Each epoch then makes one
        step on one batch; the loss still moves, so that nothing looks broken.
    Fix: move the `return` behind the loop.
    Ignore: when one step of an iterator is meant; `next(iterator)` says so.
    Reported: https://github.com/facebookresearch/deepcluster/issues/1
    """

    code, severity, certain, topic = "ML153", Severity.ERROR, True, "data"
    words = (".backward(",)
    bad = (
        """
        def train_epoch(model, loader, optimizer):
            total = 0.0
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                total += loss.item()
                return total / len(loader)
        """,
        """
        class Trainer:
            def fit(self):
                for epoch in range(10):
                    self.log(self.epoch())

            def epoch(self):
                for i, batch in enumerate(tqdm(self.loader)):
                    self.optimizer.zero_grad()
                    self.model(batch).backward()
                    self.optimizer.step()
                    if i % 100 == 0:
                        print(i)
                    return i
        """,
    )
    good = (
        """
        def train_epoch(model, loader, optimizer):
            for i, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                if i == 100:
                    return loss
            return loss
        """,
        """
        def one_good_batch(model, loader, optimizer):
            for x, y in loader:
                if len(x) < 2:
                    continue
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                return True
        """,
        """
        def attempt(model, x, y, optimizer):
            while True:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                return
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for function in script.functions:
                if function.name == loop.function and loop.whole:
                    for left in _left(function, loop):
                        yield self.at(left, f"leaves the training loop of line {loop.location.line} in its first pass")


def _left(function: Function, loop: TrainingLoop) -> Iterator[Event]:
    """A `return` that every pass of a `for` comes to."""
    for index, block in enumerate(function.blocks):
        if block.kind == "for" and block.location == loop.location:
            inside = [event for _, event in function.inside(index)]
            if not any(event.kind in ("leave", "yield") for event in inside):
                yield from (event for event in inside if event.kind == "return" and event.block == index)
