"""ML407."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value
from modellint.source.vocabulary import CONTEXTS

TENSORS = frozenset("clamp unsqueeze squeeze permute transpose masked_fill".split())  # methods
SHARED = frozenset("detach contiguous mul div".split())  # that other classes have too, which change their object
TABLES = frozenset("dropna fillna drop_duplicates reset_index".split())
FUNCTIONS = frozenset(
    (
        *(f"torch.{name}" for name in "clamp clip unsqueeze squeeze permute transpose relu sigmoid tanh softmax randperm".split()),
        *(f"torch.nn.functional.{name}" for name in "relu sigmoid tanh softmax log_softmax normalize dropout".split()),
        *(f"numpy.{name}" for name in "clip squeeze transpose random.permutation".split()),
        "sklearn.utils.shuffle",
    )
)  # fmt: skip
IN_PLACE = {"relu": 1, "dropout": 3, "normalize": None, "shuffle": None}  # where `inplace` is
TIMED = pattern(r"\btime\b|perf_counter|timeit|synchronize|profile|Timer|benchmark")
CALL = pattern(
    rb"\n[ \t]*[\w.\[\]]*\b(?:no_grad|inference_mode|enable_grad|autocast|no_sync|detach|clamp|clip|unsqueeze|squeeze|permute"
    rb"|transpose|masked_fill|contiguous|mul|div|relu|sigmoid|tanh|softmax|log_softmax|normalize|dropout|permutation|randperm"
    rb"|shuffle|dropna|fillna|drop_duplicates|reset_index)\([^\n]*\)[ \t]*[\r\n#;]"
)

WEIGHTS = ("parameters", "named_parameters", "buffers", "named_buffers")
MOST_SHOWN = 2  # results that a script drops by mistake
DERIVED = pattern(rb"class [^\n]*Module\)")


class DiscardedResult(SourceRule):
    """What a call gives back is dropped, and giving it back is all that the call does.

    Why: `x.clamp(0, 1)`, `hidden.detach()` and `F.dropout(x)` as statements compute a new tensor and forget it: `x` is what it
        was. `torch.no_grad()` alone makes a context that nothing enters, so that the evaluation builds graphs all the same.
    Fix: bind the result (`x = x.clamp(0, 1)`), take the form that changes its tensor (`x.clamp_(0, 1)`), enter the context
        (`with torch.no_grad():`).
    Ignore: where the call is made for its time or its error alone.
    Reported: https://github.com/coqui-ai/TTS/pull/4401, https://github.com/pytorch/tutorials/pull/30,
        https://github.com/xiaoyufenfei/Efficient-Segmentation-Networks/pull/5
    """

    code, severity, certain, topic = "ML407", Severity.ERROR, True, "structure"
    words = (
        ("Module)", DERIVED, CALL),
        (".backward(", CALL),
        ("DataLoader", CALL),
        ("criterion", CALL),
        ("train(", "torch", CALL),
    )
    bad = (
        """
        import torch

        def validate(model, loader):
            model.eval()
            torch.no_grad()
            return sum(criterion(model(x), y).item() for x, y in loader)
        """,
        """
        import torch
        import torch.nn.functional as F

        class Net(torch.nn.Module):
            def forward(self, x):
                x = self.hidden(x)
                F.dropout(x, 0.5, self.training)
                return self.readout(x)
        """,
        """
        import torch

        def step(model, batch, hidden):
            for x, y in batch:
                hidden.detach()
                out, hidden = model(x, hidden)
                F.cross_entropy(out, y).backward()
        """,
        """
        import numpy as np
        import torch

        def epoch(model, x, y):
            order = np.arange(len(x))
            np.random.permutation(order)
            for i in order:
                train(model, x[i], y[i])
        """,
    )
    fixed = (
        None,
        """
        import torch
        import torch.nn.functional as F

        class Net(torch.nn.Module):
            def forward(self, x):
                x = self.hidden(x)
                x = F.dropout(x, 0.5, self.training)
                return self.readout(x)
        """,
        """
        import torch

        def step(model, batch, hidden):
            for x, y in batch:
                hidden = hidden.detach()
                out, hidden = model(x, hidden)
                F.cross_entropy(out, y).backward()
        """,
        """
        import numpy as np
        import torch

        def epoch(model, x, y):
            order = np.arange(len(x))
            order = np.random.permutation(order)
            for i in order:
                train(model, x[i], y[i])
        """,
    )
    good = (
        """
        from PySide6.QtGui import QPixmap

        def load(path):
            pixmap = QPixmap(path)
            pixmap.detach()
            return pixmap
        """,
        """
        boxes = Boxes(torch.ones(3, 4))  # changes itself
        boxes.clamp(0, 1)
        print(boxes.area())
        """,
        """
        x = torch.randn(4)

        x.clamp(0, 1)  # a notebook, written out as a script

        x

        x.clamp(0, 2)

        x.clamp(0, 3)

        print(x)
        """,
        """
        import torch
        from torch_geometric.nn import TGNMemory

        memory = TGNMemory(nodes, 8, 8, 8)

        def train(mean):
            for batch in loader:
                loss = criterion(memory(batch.ids), batch.y)
                loss.backward()
                memory.detach()  # its own: it detaches what it holds
                mean.detach()
            return mean
        """,
        """
        import torch

        def validate(model, loader):
            model.eval()
            with torch.no_grad():
                return sum(criterion(model(x), y).item() for x, y in loader)

        @torch.no_grad()
        def test(model, loader):
            torch.set_grad_enabled(False)
            return model(next(loader)).clamp(0, 1)
        """,
        """
        import time
        import torch

        def measure(x, criterion):
            start = time.time()
            for _ in range(100):
                x.clamp(0, 1)
            return time.time() - start, x

        def warm_up(x):
            x.transpose(0, 1)
        """,
        """
        import torch
        import torch.nn.functional as F

        class Net(torch.nn.Module):
            def forward(self, x):
                x = self.hidden(x)
                F.relu(x, True)
                F.dropout(x, 0.5, self.training, inplace=True)
                torch.clamp(x, 0, 1, out=x)
                self.meter.clip(x)
                x.clamp_(0, 1)
                return self.readout(x)
        """,
        """
        import torch

        try:
            x.transpose(0, 4)
        except IndexError:
            x = x[None]
        numpy.random.shuffle(order)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not any("torch" in name or "lightning" in name for name in script.imports.values()):
            return  # others detach too: an image, a buffer
        for function in script.functions:
            for event in function.events if not _is_shown(function) else ():
                call = event.value if event.kind == "mention" else None
                if call is None or call.kind != "call" or call.location.in_notebook or _is_tried(function, event):
                    continue
                if call.method in CONTEXTS and (call.name.startswith("torch.") or call.method == "no_sync"):
                    yield self.at(call, f"makes `{call}` and does not enter it: it changes nothing without `with`")
                elif (what := _changed(call, function)) and _is_used(function, what, call) and not _is_timed(function):
                    yield self.at(call, f"drops the result of `{call.method}`: `{what}` itself stays as it is")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """A plain name that the function itself binds is bound anew; a weight that is an attribute cannot be."""
        for function in script.functions:
            for event in function.events:
                call = event.value if event.kind == "mention" else None
                if call is None or call.kind != "call" or call.location != finding.location:
                    continue
                what = _changed(call, function)
                if what and _is_own(function, what):
                    return Fix((edit.restate(call, f"{what} = {{whole}}"),), safe=False)
        return None


def _is_own(function: Function, name: str) -> bool:
    """Whether a name is one of the function's own, and stands for no weight, as in a loop over some."""
    bound = [e.value for e in function.events if e.kind == "assign" and e.name == name]
    given = any(parameter.name == name for parameter in function.parameters)
    of = [value for value in bound if value is not None]
    kept = any(value.kind == "element" or any(part.method in WEIGHTS for part in value.within()) for value in of)
    return "." not in name and (given or bool(bound)) and not kept


def _is_shown(function: Function) -> bool:
    """Whether a script is the cells of a notebook, one after the other, where the last value of each was shown."""
    if function.kind != "module":
        return False
    values = (event.value for event in function.events if event.kind == "mention" and event.value is not None)
    return sum(value.kind != "call" or bool(_changed(value, function)) for value in values) > MOST_SHOWN


def _changed(call: Value, function: Function) -> str:
    """The name that the call was meant to change; "" where it may have changed it."""
    if call.unpacks or call.argument(None, "out") is not None:
        return ""
    if call.name in FUNCTIONS:
        given = call.argument(IN_PLACE.get(call.method), "inplace")
        of = call.argument(0, "input")
        return of.name if of is not None and of.kind == "name" and (given is None or given.constant is False) else ""
    receiver = call.receiver
    name = receiver.name if receiver is not None and receiver.kind == "name" else ""
    if name in ("", "self", "cls") or name.partition(".")[0] in ("torch", "numpy") or call.argument(None, "inplace"):
        return ""
    bound = [event.value for event in function.events if event.kind == "assign" and event.name == name and event.value]
    if any(value.kind == "call" and value.method[:1].isupper() for value in bound):  # an object of any class
        return ""
    return name if call.method in TENSORS | TABLES or (call.method in SHARED and bound) else ""


def _is_used(function: Function, name: str, call: Value) -> bool:
    """Whether the function does something else with it."""
    return any(
        part.name == name or (part.name.startswith(f"{name}.") and part.location != call.location)
        for event in function.events
        if event.value is not None and event.value is not call and event.kind in ("call", "assign", "augment", "return")
        for part in event.value.within()
    )


def _is_timed(function: Function) -> bool:
    return any(TIMED.search(call.name) for call in function.calls) or TIMED.search(function.name) is not None


def _is_tried(function: Function, event: Event) -> bool:
    """Whether the statement is there to see if it fails."""
    around = [function.blocks[index] for index in function.enclosing(event.block)]
    return any(
        b.kind == "try" or (b.kind == "with" and b.value is not None and "aises" in b.value.method) for b in around
    )
