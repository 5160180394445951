"""ML484."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value
from modellint.source.vocabulary import is_optimizer, is_scheduler

RATE = pattern(r"(?:\w+_)?(?:lr|LR|learning_rate)(?:_now|_t|_new)?")
SETS = pattern(r"_?(?:adjust|update|decay|lower|set|change)_?\w*(?:lr|learning_?rate)\w*", re.IGNORECASE)
OPTIMIZER = pattern(r"(?:\w+_)?optim\w*|opt(?:_\w+)?", re.IGNORECASE)
# Where a rate is only told.
TELLS = frozenset("print info debug warning log log_metric add_scalar write set_postfix set_description append".split())
SHAPES = frozenset({"str", "round", "format"})  # by itself no use
KEEPS = frozenset({"append", "write"})  # and where something else may find it again
TENSORS = pattern(r"torch\.(tensor|as_tensor|full|ones|FloatTensor)")  # of which an optimizer sees each change
# By which the rate may come to the optimizer unseen, or from it.
OTHERWISE = frozenset({"param_groups", "get_last_lr", "get_lr", "lr_scheduler"})


class RateNeverApplied(SourceRule):
    """A learning rate is lowered as a variable, and the optimizer never gets to know it.

    Why: an optimizer copies the number that it is made with. `lr *= 0.1` later on changes a variable that nothing reads; the
        training goes on at the first rate, and the log may even show the other one.
    Fix: `for group in optimizer.param_groups: group["lr"] = lr`, or a scheduler.
    Ignore: nothing, where the variable is read by nothing; a function that is given the optimizer and does not touch it is
        only suspected.
    Reported: https://github.com/wohlert/generative-query-network-pytorch/issues/5
    """

    code, severity, certain, topic = "ML484", Severity.WARNING, True, "optimizer"
    explains = ("learning-rate-trajectory",)
    words = (
        (".step(", pattern(rb"\b(?:lr|LR|learning_rate) *[*/]?= "), pattern(rb"optim")),
        (".step(", pattern(rb"def _?(?:adjust|update|decay|lower|set|change)_?\w*(?:lr|learning_?rate)\w*\(")),
    )
    bad = (
        """
        lr = 0.1
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        for epoch in range(90):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            if epoch in (30, 60):
                lr *= 0.1
            print(epoch, lr)
        """,
        """
        def train(model, loader, learning_rate=0.1):
            optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
            for epoch in range(90):
                learning_rate = learning_rate * 0.95
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
        """,
    )
    suspected = (
        """
        lr, rates = 0.1, []
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        for epoch in range(90):
            lr *= 0.9
            rates.append(lr)
            set_rate(optimizer, rates[-1])
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-4)
        for update in range(total):
            lr = (1 - update / total) * 2.5e-4
            optimizer.zero_grad()
            loss(agent, rollout()).backward()
            optimizer.step()
        """,
        """
        def adjust_learning_rate(optimizer, epoch):
            lr = 0.1 * 0.1 ** (epoch // 30)
            return lr

        for epoch in range(90):
            adjust_learning_rate(optimizer, epoch)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
    )
    good = (
        """
        lr = 0.1
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        for epoch in range(90):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            lr *= 0.9
            optimizer.renew(rate=round(lr, 5))
        """,
        """
        lr = torch.tensor(0.1)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr, capturable=True)
        for epoch in range(90):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            lr *= 0.9
        """,
        """
        lr = 0.1
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        for epoch in range(90):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            lr *= 0.9
            for group in optimizer.param_groups:
                group["lr"] = lr
        """,
        """
        lr = 0.1
        for stage in range(3):
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            lr *= 0.1
        """,
        """
        lr = 0.1
        for x, y in loader:
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                for p in model.parameters():
                    p -= lr * p.grad
                    p.grad = None
            meta.step()
            lr *= 0.999
        """,
        """
        lr = 0.001
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        for epoch in range(90):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            scheduler.step()
            lr *= 0.9  # for the log
            print(lr)
        """,
        """
        def adjust_learning_rate(optimizer, epoch):
            lr = 0.1 * 0.1 ** (epoch // 30)
            return lr

        for epoch in range(90):
            optimizer.set_rate(adjust_learning_rate(optimizer, epoch))
            optimizer.step()
        """,
        """
        class Trainer:
            def update_learning_rate(self, optimizer):
                raise NotImplementedError

            def fit(self, optimizer):
                self.update_learning_rate(optimizer)
                optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        scheduled = OTHERWISE & script.attributes or any(is_scheduler(call.name) for call in script.calls)
        if scheduled or {"locals", "globals"} & script.called or not any(loop.steps for loop in script.training_loops):
            return
        for function in script.functions:
            if any(call.method == "step" or is_optimizer(call.name) for call in function.calls):
                yield from self._variables(script, function)
            if SETS.fullmatch(function.name.rpartition(".")[2]) and not function.decorators:
                yield from self._idle(script, function)

    def _variables(self, script: Script, function: Function) -> Iterator[Diagnostic]:
        names = dict.fromkeys(e.name for e in function.events if _binds(e) and RATE.fullmatch(e.name))
        for name in names:
            bound = [e for e in function.events if _binds(e) and e.name == name]
            changes = [e for e in bound if _is_in_a_loop(function, e)]
            shared = any(e.value is not None and TENSORS.fullmatch(e.value.name) for e in bound)
            if changes and not shared and not _is_read(script, function, name, changes[0]):
                kept = any(
                    call.method in KEEPS and any(p.name == name for p in call.within()) for call in function.calls
                )
                lowered = any(_is_own(change) for change in changes) and not kept
                message = (
                    f"changes `{name}`, which nothing reads from there on: the optimizer keeps the rate that it has"
                )
                yield self.at(changes[0], message, certain=lowered)

    def _idle(self, script: Script, function: Function) -> Iterator[Diagnostic]:
        """A function that is to set the rate of an optimizer that it is given, and does not touch it."""
        given = [parameter.name for parameter in function.parameters if OPTIMIZER.fullmatch(parameter.name)]
        computes = any(_binds(e) and RATE.fullmatch(e.name) for e in function.events)
        touched = any(part.name.partition(".")[0] in given for value in function.values for part in value.within())
        if given and computes and not touched and _is_dropped(script, function):
            yield self.at(function, f"is given `{given[0]}` and leaves its rate as it is", certain=False)


def _binds(event: Event) -> bool:
    return event.kind in ("assign", "augment")


def _is_in_a_loop(function: Function, event: Event) -> bool:
    return any(function.blocks[b].kind in ("for", "while") for b in function.enclosing(event.block)) and not (
        event.value is not None and event.value.kind == "element"
    )


def _is_own(change: Event) -> bool:
    """Whether a rate is computed from what it was: `lr *= 0.1`."""
    value = change.value
    if value is None or value.kind != "operation" or value.name not in ("*", "/", "**"):
        return False
    return change.kind == "augment" or any(part.name == change.name for part in value.within())


def _is_read(script: Script, function: Function, name: str, change: Event) -> bool:
    """Whether anything but its own change, a log, or an optimizer that is made before reads a name."""
    loops = {b for b in function.enclosing(change.block) if function.blocks[b].kind in ("for", "while")}
    earlier = True
    for event in function.events:
        earlier = earlier and event is not change
        if event.kind == "global" and event.name == name:
            return True
        before = earlier and loops.isdisjoint(function.enclosing(event.block))
        own = before or (_binds(event) and event.name == name) or _shapes(event)
        if event.value is not None and not own and _reads(event.value, name):
            return True
    tests = (block.value for block in function.blocks if block.value is not None)
    if any(_reads(test, name) for test in tests):
        return True
    others = (other for other in script.functions if other is not function and _may_mean(other, function, name))
    return any(part.name == name for other in others for part in other.values)


def _shapes(event: Event) -> bool:
    return event.kind == "call" and event.value is not None and event.value.method in SHAPES


def _may_mean(other: Function, function: Function, name: str) -> bool:
    """Whether a function may read the name of another: one within it, or any where the name is the module's."""
    own = any(parameter.name == name for parameter in other.parameters)
    return not own and (function.kind == "module" or f"{other.name}.".startswith(f"{function.name}."))


def _reads(value: Value, name: str) -> bool:
    if value.kind == "call" and value.method in TELLS:
        return False
    if value.kind in ("name", "text") and value.name == name:
        return value.kind == "name"
    inside = (*value.arguments, *(v for _, v in value.keywords), *((value.base,) if value.base is not None else ()))
    return any(_reads(part, name) for part in inside)


def _is_dropped(script: Script, function: Function) -> bool:
    """Whether the file calls it, each time as a statement."""
    name = function.name.rpartition(".")[2]
    calls = [call for call in script.calls if call.method == name]
    used = {
        id(part)
        for f in script.functions
        for e in f.events
        if e.value is not None and not (e.kind == "call" and e.value.method == name)
        for part in e.value.within()
        if part.kind == "call" and part.method == name
    }
    return bool(calls) and not any(id(call) in used for call in calls)
