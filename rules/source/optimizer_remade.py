"""ML160."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Location, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.branches import arms
from modellint.source.code import Function, Value
from modellint.source.facts import Optimizer

EPOCHS = pattern(
    r"(?!.*(fold|task|stage|round|client|trial|restart|phase))(.*_)?(epochs?|ep|e(?!\w)|iteration|iter|it|step|batch_idx)",
    re.IGNORECASE,
)
STATELESS = "SGD"
# What gives the weights a new beginning, so that the optimizer has to begin anew too.
RESETS = frozenset({"load_state_dict", "apply", "reset_parameters", "deepcopy", "reset", "init_weights", "copy_"})


class OptimizerRemade(SourceRule):
    """The optimizer is made anew in every epoch (or batch) of one training: it forgets what it has learned.

    Why: the moments of Adam and the momentum of SGD live in the optimizer. A new one begins with none, and Adam's first
        steps are as large as its rate allows: the loss jumps at the start of each epoch. A schedule that was
        attached to the old one moves nothing.
    Fix: make the optimizer once, before the loop; change `group["lr"]` for another learning rate.
    Ignore: when each pass is a training of its own, or the state is dropped on purpose.
    Reported: https://github.com/alan-turing-institute/deepsensor/issues/47
    """

    code, severity, topic = "ML160", Severity.WARNING, "optimizer"
    explains = ("loss-not-falling",)
    words = ((".backward(", "optim"), (".backward(", "Adam("))
    bad = (
        """
        model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
        for epoch in range(20):
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        def train_epoch(model, loader):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        model = nn.Linear(8, 2)
        for epoch in range(20):
            train_epoch(model, loader)
        """,
        """
        def main(options):
            model = nn.Linear(8, 2)
            for epoch in range(options.epochs):
                optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
        """,
    )
    good = (
        """
        for epoch in range(20):
            model = nn.Linear(8, 2)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        model = nn.Linear(8, 2)
        for fold in range(5):
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(20):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
        """,
        """
        model = nn.Linear(8, 2)
        for epoch in range(20):
            if epoch == 10:
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        model = nn.Linear(8, 2)
        for epoch in range(20):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * 0.9**epoch)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        model = nn.Linear(8, 2)
        for step in range(20):
            model.load_state_dict(start)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for optimizer in script.optimizers:
            if optimizer.of_modules and optimizer.held and not _stateless(optimizer):
                for loop in _epochs(script, optimizer):
                    names = [p.name for p in _numbers(optimizer) if p.kind == "name" and p.name[:6] != "torch."]
                    plain = not names or (loop.holds(optimizer.location) and not any(map(loop.changes, names)))
                    message = f"is made anew in every pass of the loop of line {loop.line}, for the same weights"
                    yield self.at(optimizer, message, certain=plain)
                    break


def _stateless(optimizer: Optimizer) -> bool:
    momentum = optimizer.call.argument(2, "momentum")
    plain = momentum is None or momentum.constant in (0, 0.0)
    return optimizer.call.unpacks or (optimizer.family == STATELESS and plain) or optimizer.family in ("LBFGS", "*")


def _numbers(optimizer: Optimizer) -> Iterator[Value]:
    given = (*optimizer.call.arguments[1:], *(value for _, value in optimizer.call.keywords))
    return (part for value in given for part in value.within())


class _Loop:
    def __init__(self, function: Function, index: int) -> None:
        self.function, self.block = function, function.blocks[index]
        self.line = self.block.location.line or 0
        self.end = self.block.location.end_line or 0

    def changes(self, name: str) -> bool:
        """Whether the loop binds a name anew."""
        bound = (e.name for e in self.function.events if e.kind in ("assign", "augment") and self.holds(e.location))
        return name.partition(".")[0] in {re.split(r"[.[]", target)[0] for target in bound}

    def holds(self, place: Location) -> bool:
        return self.line <= (place.line or 0) <= self.end


def _epochs(script: Script, optimizer: Optimizer) -> Iterator[_Loop]:
    """The loops over epochs in which the optimizer is made, and nothing gives the weights a new beginning."""
    for function, block in _places(script, optimizer.call):
        for index in function.enclosing(block):
            if function.blocks[index].kind == "for" and _counts(function, index):
                loop = _Loop(function, index)
                always = arms(function, block) == arms(function, index)
                kept = not any(_inside(held, loop, script) for held in optimizer.held)
                if always and kept and not _begins(loop) and optimizer.looped:
                    yield loop


def _places(script: Script, call: Value) -> Iterator[tuple[Function, int]]:
    """The function and block in which a call is made; and, of a function that is called once, those of that call."""
    for function in script.functions:
        for event in function.events:
            if event.kind == "call" and event.value is call:
                yield function, event.block
                if not arms(function, event.block):
                    yield from _called(script, function)


def _called(script: Script, function: Function) -> Iterator[tuple[Function, int]]:
    sites = [
        (f, e.block)
        for f in script.functions
        for e in f.events
        if e.kind == "call" and e.value is not None and e.value.name == function.name
    ]
    yield from sites if len(sites) == 1 and function.kind == "function" else ()


def _counts(function: Function, index: int) -> bool:
    """Whether a loop counts epochs or steps: by the name of what it counts with."""
    names = [
        e.name
        for e in function.events
        if e.block == index and e.kind == "assign" and e.value is not None and e.value.kind == "element"
    ]
    over = function.blocks[index].value
    return bool(names) and over is not None and "range" in str(over) and EPOCHS.fullmatch(names[0]) is not None


def _begins(loop: _Loop) -> bool:
    inside = (e for e in loop.function.events if e.kind == "call" and e.value is not None and loop.holds(e.location))
    return any(e.value is not None and e.value.method in RESETS for e in inside)


def _inside(place: str, loop: _Loop, script: Script) -> bool:
    """Whether a module is made in the loop."""
    path, _, spot = place.rpartition(">")[2].partition(":")
    line = spot.partition(":")[0]
    return not line.isdigit() or (path == script.path and loop.line <= int(line) <= loop.end)
