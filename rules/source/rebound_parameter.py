"""ML431."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value

WEIGHTS = frozenset({"parameters", "named_parameters", "state_dict", "buffers", "named_buffers"})
WRAPS = frozenset({"zip", "enumerate", "list", "reversed", "items", "values", "tqdm"})
SHIFTS = frozenset(
    "to clamp clip mul div add sub lerp half float double cuda cpu bfloat16 detach clone zeros_like".split()
)

REBOUND = pattern(
    rb"for [\w, ()]+ in [^\n]*(?:parameters|state_dict)\(\)[^\n]*:[^\n]*\n(?:[^\n]*\n){0,4}?[ \t]+(\w+) = [^\n]*\b\1\b"
)


class ReboundParameter(SourceRule):
    """A loop over weights binds its own name to the new value, and the weight stays what it was.

    Why: `p = p - lr * p.grad` computes a tensor and calls it `p` until the next pass. Nothing of the model has changed: an
        update by hand trains nothing, a moving average keeps its first values, a clamp lets everything through.
    Fix: change the tensor in place under `torch.no_grad()`: `p -= lr * p.grad`, `p.copy_(...)`, `p.mul_(d).add_(q, alpha=1 - d)`.
    Ignore: hardly ever. What is read later in the pass is not reported.
    Reported: https://github.com/YU1ut/MixMatch-pytorch/pull/23
    """

    code, severity, certain, topic = "ML431", Severity.ERROR, True, "optimizer"
    explains = ("loss-not-falling", "update-too-small", "broken-average")
    words = (("parameters()", REBOUND), ("state_dict()", REBOUND))
    bad = (
        """
        for x, y in loader:
            loss = F.mse_loss(model(x), y)
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    p = p - 0.01 * p.grad
        """,
        """
        class Average:
            def update(self, model):
                weights = model.state_dict()
                for name, value in self.average.state_dict().items():
                    if value.dtype.is_floating_point:
                        value = value * self.decay + (1 - self.decay) * weights[name].detach()
        """,
        """
        for p in critic.parameters():
            p = torch.clamp(p, -0.01, 0.01)
        """,
        """
        for target, source in zip(target_net.parameters(), net.parameters()):
            target = tau * source + (1 - tau) * target
        """,
    )
    good = (
        """
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.01 * p.grad
                p.data = p.data.clamp(-1, 1)
            for name, value in model.state_dict().items():
                value = value * 0.5
                average[name].copy_(value)
        """,
        """
        total = 0.0
        for p in model.parameters():
            p = p.detach().flatten()
            total = total + p.norm()
        """,
        """
        for p in model.parameters():
            p = p.mul_(0.5)
        for p in model.parameters():
            p = p.requires_grad_(False)
        """,
        """
        for name, p in model.named_parameters():
            name = name.replace("module.", "")
        for name, p in model.named_parameters():
            if "bias" in name:
                p = p * 2
            print(name, p.norm())
        """,
        """
        largest = 0.0
        for p in model.parameters():
            p = p * 2
        print(p)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for at, event in _rebound(function):
                if not _read_after(function, at, event.name):
                    message = f"binds the name `{event.name}` anew: the weight that it stood for stays as it was"
                    yield self.at(event.value or event, message)


def _rebound(function: Function) -> Iterator[tuple[int, Event]]:
    """The assignments in loops over weights that give the loop's own name what is computed from it."""
    for number, block in enumerate(function.blocks):
        if block.kind == "for" and block.value is not None and _goes_over_weights(function, block.value):
            inside = list(function.inside(number))
            own = {e.name for _, e in inside if e.kind == "assign" and e.value is not None and _is_element(e.value)}
            for at, event in inside:
                value = event.value if event.kind == "assign" and event.name in own else None
                if value is not None and not _is_element(value) and _computes(value, event.name):
                    yield at, event


def _goes_over_weights(function: Function, over: Value) -> bool:
    """Whether a loop is over the weights of models alone."""
    if over.kind == "call" and over.method in WRAPS:
        parts = over.arguments if over.arguments else (over.receiver,)
        return any(part is not None and _goes_over_weights(function, part) for part in parts)
    return over.kind == "call" and over.method in WEIGHTS


def _is_element(value: Value) -> bool:
    return value.kind == "element" or (value.base is not None and value.kind == "item" and _is_element(value.base))


def _computes(value: Value, name: str) -> bool:
    """Whether a new tensor is computed from the old one, and nothing is changed in place on the way."""
    parts = list(value.within())
    if any(part.kind == "call" and part.method.endswith("_") for part in parts):
        return False
    arithmetic = value.kind == "operation" and value.name in ("+", "-", "*", "/")
    called = value.kind == "call" and value.method in SHIFTS
    return (arithmetic or called) and any(_stem(part.name) == name for part in parts)


def _read_after(function: Function, at: int, name: str) -> bool:
    """Whether anything that follows in the function, or in one inside it, may read the name."""
    later = function.events[at + 1 :]
    return any((event.kind != "assign" and _stem(event.name) == name) or _mentions(event, name) for event in later)


def _mentions(event: Event, name: str) -> bool:
    return event.value is not None and any(_stem(part.name) == name for part in event.value.within())


def _stem(name: str) -> str:
    return name.partition("[")[0].partition(".")[0]
