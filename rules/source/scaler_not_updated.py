"""ML141."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source import lookup
from modellint.source.code import Value
from modellint.source.facts import Act

SCALER = pattern(r"(?i:.*scaler.*)")


class ScalerNotUpdated(SourceRule):
    """A gradient scaler steps the optimizer and is never updated.

    Why: `update()` ends the iteration for the scaler: it moves the scale and forgets that it has stepped. Without it the second
        `scaler.step(optimizer)` raises a RuntimeError; where the scaler is disabled (no CUDA) nothing shows.
    Fix: call `scaler.update()` once after all optimizers were stepped.
    Ignore: never.
    Reported: https://github.com/Azure/MS-AMP/pull/45
    """

    code, severity, certain, topic = "ML141", Severity.ERROR, True, "gradients"
    calls = ("GradScaler", "scale")
    words = (("GradScaler(", ".step("), ("scaler.step(", ".scale("))
    bad = (
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
        """,
        """
        from torch.cuda.amp import GradScaler

        class Trainer:
            def __init__(self, net, half):
                self.net, self.optimizer = net, torch.optim.SGD(net.parameters(), lr=0.1)
                self.grad_scaler = GradScaler(enabled=half)

            def fit(self, loader):
                for x, y in loader:
                    self.optimizer.zero_grad()
                    self.grad_scaler.scale(F.cross_entropy(self.net(x), y)).backward()
                    self.grad_scaler.unscale_(self.optimizer)
                    torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
                    self.grad_scaler.step(self.optimizer)
                    self.bar.update(1)
        """,
        """
        def train_one_epoch(model, optimizer, scaler, loader):
            for x, y in loader:
                optimizer.zero_grad()
                scaler.scale(F.cross_entropy(model(x), y)).backward()
                scaler.step(optimizer)
        """,
    )
    fixed = (
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        """,
        """
        from torch.cuda.amp import GradScaler

        class Trainer:
            def __init__(self, net, half):
                self.net, self.optimizer = net, torch.optim.SGD(net.parameters(), lr=0.1)
                self.grad_scaler = GradScaler(enabled=half)

            def fit(self, loader):
                for x, y in loader:
                    self.optimizer.zero_grad()
                    self.grad_scaler.scale(F.cross_entropy(self.net(x), y)).backward()
                    self.grad_scaler.unscale_(self.optimizer)
                    torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
                    self.grad_scaler.step(self.optimizer)
                    self.grad_scaler.update()
                    self.bar.update(1)
        """,
        """
        def train_one_epoch(model, optimizer, scaler, loader):
            for x, y in loader:
                optimizer.zero_grad()
                scaler.scale(F.cross_entropy(model(x), y)).backward()
                scaler.step(optimizer)
                scaler.update()
        """,
    )
    good = (
        """
        def step(amp, optimizer):
            amp.step(optimizer)
            finish(amp)

        def finish(amp_scaler):
            amp_scaler.update()

        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            step(scaler, optimizer)
        """,
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:  # the other file's function ends the iteration
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
            end_of_iteration(scaler)
        """,
        """
        for x, y in loader:
            scaler = torch.amp.GradScaler("cuda", init_scale=1024)
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
        """,
        """
        def step(model, optimizer, scaler, x, y):  # whoever calls it may update
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
        """,
        """
        scaler = torch.amp.GradScaler("cuda", enabled=False)
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not any(map(_may_update, script.calls)):
            for step in _stepped(script):
                yield self.at(step, f"steps `{step.call.receiver}` and never updates it")
            for step in _given(script):
                yield self.at(step, f"steps `{step.call.receiver}` and never updates it", certain=False)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """After the last step of the scaler in the loop."""
        steps = [step.call for step in (*_stepped(script), *_given(script))]
        last = max(steps, key=lambda call: call.location.line or 0, default=None)
        if last is None or len({str(call.receiver) for call in steps}) > 1:
            return None
        return Fix((edit.insert("{receiver}.update()", of=last, after=last),))


def _stepped(script: Script) -> Iterator[Act]:
    """The steps of the file's loops through scalers that it makes before the loop, and hands to no other file."""
    made = {e.name: e.location for f in script.functions for e in f.events if _is_scaler(e.value) and e.name}
    if not made:
        return
    own = {function.name.rpartition(".")[2] for function in script.functions}
    handed = {str(given) for call in script.calls if call.method not in own for given in _arguments(call)}
    for loop in script.training_loops if made.keys().isdisjoint(handed) else ():
        around = range(loop.location.line or 0, (loop.location.end_line or 0) + 1)
        inside = any(place.line in around for place in made.values())
        yield from (s for s in loop.steps if s.scaled and s.location.path == script.path and not inside)


def _given(script: Script) -> Iterator[Act]:
    """The steps of the file's loops through what their function is given, where the loss is scaled by it."""
    for loop in script.training_loops if "GradScaler" not in script.called else ():
        function = lookup.function(script, loop.location)
        names = {parameter.name for parameter in function.parameters} if function is not None else set()
        scaled = any(act.scaled for act in loop.of("backward"))
        yield from (s for s in loop.steps if scaled and loop.over and s.scaled and str(s.call.receiver) in names)


def _is_scaler(value: Value | None) -> bool:
    return value is not None and value.kind == "call" and value.method == "GradScaler"


def _arguments(call: Value) -> Iterator[Value]:
    yield from (*call.arguments, *(value for _, value in call.keywords))


def _may_update(call: Value) -> bool:
    """`scaler.update()`; the one argument that it may have is called `new_scale`."""
    few = not call.arguments and all(name == "new_scale" for name, _ in call.keywords)
    return call.method == "update" and (few or SCALER.fullmatch(str(call.receiver)) is not None)
