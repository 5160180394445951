"""ML193."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Event, Function, Value
from modellint.source.schedules import TORCH
from modellint.source.vocabulary import is_schedule

READING = frozenset({"state_dict", "load_state_dict", "get_lr", "get_last_lr", "last_epoch", "base_lrs"})
HELPERS = 3  # one that calls the next


class SchedulerNeverStepped(SourceRule):
    """A learning rate scheduler is made for the optimizer that trains, and it is never stepped.

    Why: a scheduler changes the rate in its `step()` only. Without it the rate stays where the scheduler has put it at the
        start: there is no decay, and a warm-up that begins at nothing never ends.
    Fix: call `scheduler.step()` once for each epoch, or for each batch if its horizon counts batches.
    Ignore: when the scheduler is kept to try it out; remove it otherwise.
    Reported: https://github.com/tumurzakov/AnimateDiff/issues/11
    """

    code, severity, certain, topic = "ML193", Severity.WARNING, True, "optimizer"
    words = (("lr_scheduler", ".backward("), ("_schedule", ".backward("), ("lr_scheduler", "DataLoader("))
    bad = (
        """
        def save(path, model, scheduler=None):
            torch.save({"model": model.state_dict(), "scheduler": scheduler.state_dict()}, path)

        def train(model, loader):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            for epoch in range(30):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                save("last.pt", model, scheduler)
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            print(epoch, scheduler.get_last_lr())
        """,
        """
        from accelerate import Accelerator
        from transformers import get_linear_schedule_with_warmup

        accelerator = Accelerator()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        scheduler = get_linear_schedule_with_warmup(optimizer, 100, 1000)
        model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
        """,
        """
        class Trainer:
            def __init__(self, model):
                self.model = model
                self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)

            def train(self, loader):
                for x, y in loader:
                    self.optimizer.zero_grad()
                    F.cross_entropy(self.model(x), y).backward()
                    self.optimizer.step()
        """,
    )
    suspected = (
        """
        optimizers = [torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())]
        schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, 10) for optimizer in optimizers]
        for epoch in range(30):
            for x in loader:
                for optimizer in optimizers:
                    optimizer.zero_grad()
                (g(x) + d(x)).sum().backward()
                for optimizer in optimizers:
                    optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 20])
        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            scheduler.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        another = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(another, T_max=300)
        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
    )
    good = (
        """
        scheduler = transformers.get_constant_schedule(optimizer)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        def after(scheduler):
            scheduler.step()
            print(scheduler.get_last_lr())

        def train(model, loader):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            for epoch in range(30):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                after(scheduler)
        """,
        """
        def setup():
            global optimizer, scheduler
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)

        def train(loader):
            def warm(steps):
                nonlocal warm_up
                warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, steps)

            warm_up = None
            warm(100)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                warm_up.step()
            scheduler.step()
        """,
        """
        def train(loader):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            state = dict(locals())
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                callback(state)
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)

        def epoch():
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            scheduler.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        warmup = torch.optim.lr_scheduler.LinearLR(optimizer)
        decay = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], [5])
        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            scheduler.step()
        """,
        """
        def train(model, loader, kept):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            kept.scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            return scheduler
        """,
        """
        class Trainer:
            def __init__(self, model):
                self.model = model
                self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)

            def train(self, loader):
                for x, y in loader:
                    self.optimizer.zero_grad()
                    F.cross_entropy(self.model(x), y).backward()
                    self.optimizer.step()

        trainer = Trainer(model)
        for epoch in range(10):
            trainer.train(loader)
            trainer.scheduler.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        trains = any(loop.steps for loop in script.training_loops)
        if not trains and not script.optimizers:  # else another file steps them
            return
        for function in script.functions:
            for event in function.events:
                if event.kind == "assign" and event.value is not None and _makes_schedulers(event.value):
                    own = event.name.startswith("self.")
                    known = _is_alone(script, function) if own else "." not in event.name and "[]" not in event.name
                    if known and not _is_used(script, function, event.name):
                        sure = (
                            trains
                            and not own
                            and _is_scheduler(event.value)
                            and not _is_left_over(script, function, event)
                        )
                        yield self.at(event.value, f"makes `{event.name}`, and nothing ever steps it", certain=sure)


def _makes_schedulers(made: Value) -> bool:
    """A scheduler, or `[StepLR(optimizer, 10) for optimizer in optimizers]`."""
    items = made.arguments if made.kind in ("comprehension", "list") else (made,)
    return bool(items) and all(map(_is_scheduler, items))


def _is_scheduler(made: Value) -> bool:
    known = made.name.startswith(TORCH) or (made.name.startswith("transformers.") and is_schedule(made.method))
    return made.kind == "call" and bool(known) and made.method != "get_constant_schedule"  # which is no loss


def _is_left_over(script: Script, function: Function, made: Event) -> bool:
    """Whether another scheduler is at work beside it, or its optimizer is as idle: what was tried, and stayed."""
    others = {e.name for e in function.events if e.kind == "assign" and e.value is not None and _is_scheduler(e.value)}
    optimizer = made.value.argument(0, "optimizer") if made.value is not None else None
    idle = optimizer is not None and optimizer.kind == "name" and not _is_stepped(script, optimizer.name)
    return idle or any(_is_used(script, function, name) for name in others - {made.name})


def _is_stepped(script: Script, optimizer: str) -> bool:
    """Whether anything is done with an optimizer but to make schedulers for it."""
    made = {id(part) for f in script.functions for call in f.calls if _is_scheduler(call) for part in call.within()}
    values = (event.value for function in script.functions for event in function.events if event.value is not None)
    parts = (part for value in values for part in value.within() if id(part) not in made)
    return any(f"{part.name}.".startswith(f"{optimizer}.") for part in parts)


def _is_alone(script: Script, function: Function) -> bool:
    """Whether nothing that lies in another file is a base of the class."""
    own = {class_.name for class_ in script.classes} | {"object"}
    return any(class_.name == function.owner and own.issuperset(map(str, class_.bases)) for class_ in script.classes)


def _is_used(script: Script, function: Function, name: str, helpers: int = HELPERS) -> bool:
    """Whether anything is done with a scheduler but to read its rate; what goes through more than some helpers is used."""
    own = name.startswith("self.")
    used = re.compile((r"(?:\S*\.)?" if own else "") + re.escape(name.removeprefix("self.")) + r"(?:\.(\w+).*)?")
    seen = [f for f in script.functions if own or _may_see(f, function, name)]
    if any(call.name in ("locals", "globals", "vars") for f in seen for call in f.calls):
        return True
    read = {id(given) for f in seen for call in f.calls for given in _only_saved(script, call, helpers - 1)}
    parts = (part for f in seen for value in _values(f, name) for part in value.within() if id(part) not in read)
    names = (used.fullmatch(part.name) for part in parts)
    return any(match is not None and match[1] not in READING for match in names)


def _only_saved(script: Script, call: Value, helpers: int) -> Iterator[Value]:
    """The arguments of which a function of the file does nothing but read or restore their state."""
    named = (f for f in script.functions if f.name == call.name and f.kind == "function" and not call.unpacks)
    for function in named if helpers >= 0 else ():
        for at, parameter in enumerate(function.parameters):
            given = call.argument(at, parameter.name)
            if given is not None and given.kind == "name" and not _is_used(script, function, parameter.name, helpers):
                yield given


def _may_see(other: Function, function: Function, name: str) -> bool:
    """Whether a function may mean the same by a name: one within it, around it, or any where the name is global."""
    shared = function.kind == "module" or any(e.kind == "global" and e.name == name for e in function.events)
    outermost = function.parent or function.name
    return shared or f"{other.name}.".startswith(f"{outermost}.")


def _values(function: Function, name: str) -> Iterator[Value]:
    """Without a `prepare()` of a framework that gives the scheduler back."""
    given_back = any(e.kind == "assign" and e.name == name and _prepares(e.value) for e in function.events)
    for value in (*(event.value for event in function.events), *(block.value for block in function.blocks)):
        if value is not None and not (given_back and _prepares(value)):
            yield value


def _prepares(value: Value | None) -> bool:
    call = value.base if value is not None and value.kind == "item" else value
    return call is not None and call.kind == "call" and call.method == "prepare"
