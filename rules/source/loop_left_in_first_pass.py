"""ML153."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.diagnostic import Location
from modellint.source.code import Event, Function


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
        def fit(model, loader, optimizer):
            best = float("inf")
            for epoch in range(10):
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                if loss > best:
                    break
                best = loss
                return best
        """,
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
        def fit(model, loader, optimizer):
            for epoch in range(10):
                for x, y in loader:
                    if len(x) < 2:
                        continue
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                if epoch < 9:
                    continue
                return model
        """,
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
        seen = set[Location]()
        for loop in script.training_loops:
            for place in loop.places if loop.whole else ():
                for left in _left(script, place) if place not in seen else ():
                    yield self.at(left, f"leaves the training loop of line {place.line} in its first pass")
                seen.add(place)


def _left(script: Script, loop: Location) -> Iterator[Event]:
    """A `return` that every pass of a `for` comes to, if it is not left before."""
    for function in (f for f in script.functions if loop.path == script.path and f.kind == "function"):
        for index, block in enumerate(function.blocks):
            if block.kind == "for" and block.location == loop:
                inside = [event for _, event in function.inside(index)]
                if not any(event.kind == "yield" or _goes_on(function, event, index) for event in inside):
                    yield from (event for event in inside if event.kind == "return" and event.block == index)


def _goes_on(function: Function, event: Event, loop: int) -> bool:
    """Whether it is a `continue` of the loop itself."""
    around = (block for block in function.enclosing(event.block) if function.blocks[block].is_loop)
    return event.kind == "leave" and event.name == "continue" and next(around, None) == loop
