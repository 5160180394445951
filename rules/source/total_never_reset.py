"""ML478."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value
from modellint.source.tallies import LOADER

TOTAL = pattern(rb"\b(\w*(?:correct|loss|acc|hits|right|total|running|error|sum|score)\w*) *\+= ")
UPDATED = pattern(rb"\.update\((?s:.)*\.compute\(|\.compute\((?s:.)*\.update\(")
EMPTIED = pattern(
    rb"for [^\n]* in [^\n]*(?:loader|_dl|batches)[^\n]*:\n(?s:.){0,300}?(?m:^)[ \t]+\w+(?:, *\w+)* *= *\[\]"
)
GROWS = ("append", "extend")
RESET = frozenset({"reset", "reset_states"})
FRAMES = frozenset({"LightningModule", "Metric", "Module"})


class TotalNeverReset(SourceRule):
    """What is collected over the batches of an epoch is not set back before the next, or is set back for each batch.

    Why: the score is that of all epochs, or of the last batch alone. A sum that is divided by the size of one epoch grows without
        end (an accuracy above 1); a metric that nothing resets follows the model ever more slowly, and the best epoch by it is
        not the best one.
    Fix: set the sum to zero at the beginning of each epoch; call `reset()` of a metric after `compute()`.
    Ignore: when the average over the whole training is meant.
    Reported: https://github.com/JetBrains-Research/code2seq/pull/112, https://github.com/MichiganCOG/ViP/issues/34
    """

    code, severity, certain, topic = "ML478", Severity.WARNING, False, "evaluation"
    words = (("torchmetrics", ".compute(", UPDATED), ("DataLoader", "for epoch in", TOTAL), ("torch", EMPTIED))
    bad = (
        """
        from torch.utils.data import DataLoader

        loader = DataLoader(data, batch_size=64, shuffle=True)
        correct = 0
        for epoch in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                scores = model(x)
                F.cross_entropy(scores, y).backward()
                optimizer.step()
                correct += (scores.argmax(1) == y).sum().item()
            print(epoch, correct / len(loader.dataset))
        """,
        """
        from torch.utils.data import DataLoader

        def fit(model, loader):
            total, running = 0, 0.0
            for epoch in range(20):
                seen = 0
                for x, y in loader:
                    running += step(model, x, y)
                    seen += len(x)
                log("loss", running / seen)
        """,
        """
        import torchmetrics

        metric = torchmetrics.Accuracy(task="multiclass", num_classes=10)

        def evaluate(model, loader):
            for x, y in loader:
                metric.update(model(x), y)
            return metric.compute().item()

        for epoch in range(10):
            train(model)
            print(evaluate(model, loader))
        """,
        """
        import torch

        def predict(model, loader):
            for x, y in loader:
                scores, truth = [], []
                scores.extend(model(x).argmax(1).tolist())
                truth.extend(y.tolist())
            return f1_score(truth, scores)
        """,
    )
    good = (
        """
        import torch

        def predict(model, loader):
            found = []
            for x, y in loader:
                views = []
                for k in range(4):
                    views.append(model(x.rot90(k, [2, 3])))
                found.append(torch.stack(views).mean(0))
            print(len(views))
            return torch.cat(found)
        """,
        """
        from torch.utils.data import DataLoader

        steps, total_tokens = 0, 0
        for epoch in range(20):
            correct = 0
            for x, y in loader:
                steps += 1
                total_tokens += x.numel()
                correct += (model(x).argmax(1) == y).sum().item()
                if steps % 100 == 99:
                    print(total_tokens / steps)
            print(epoch, correct / len(loader.dataset), total_tokens / (epoch + 1))
        """,
        """
        from torch.utils.data import DataLoader

        running = 0.0
        for epoch in range(20):
            for i, (x, y) in enumerate(loader):
                running += step(model, x, y)
                if i % 100 == 99:
                    print(running / 100)
                    running = 0.0
        """,
        """
        import torchmetrics

        def evaluate(model, loader):
            metric = torchmetrics.MeanMetric()
            for x, y in loader:
                metric.update(model(x), y)
            return metric.compute().item()

        class Agent:
            def __init__(self):
                self.metric = torchmetrics.MeanMetric()

            def run(self):
                self.metric.reset()
                for x, y in self.loader:
                    self.metric.update(self.model(x), y)
                return self.metric.compute()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            yield from self._summed(function)
            yield from self._emptied(function)
        if any(full.startswith("torchmetrics") for full in script.imports.values()):
            yield from self._updated(script)

    def _summed(self, function: Function) -> Iterator[Diagnostic]:
        """A sum over batches that begins before the loop over epochs, and is divided in each of them by one epoch's count."""
        begun = {e.name: e.block for e in function.events if e.kind == "assign" and _is_zero(e.value)}
        told = set[str]()
        for event in function.events:
            if event.kind != "augment" or event.name not in begun or event.name in told:
                continue
            loops = [b for b in function.enclosing(event.block) if function.blocks[b].kind in ("for", "while")]
            over = function.blocks[loops[0]].value if len(loops) > 1 else None
            if over is None or not LOADER.search(str(over)):
                continue
            inside = [e for _, e in function.inside(loops[1])]
            if not any(e.name == "epoch" for e in inside) and "epoch" not in str(function.blocks[loops[1]].value):
                continue
            own = {e.name for e in inside if e.kind == "assign"}
            outside = begun[event.name] not in {e.block for e in inside}
            if outside and event.name not in own and _is_divided(function, loops, event.name, own):
                told.add(event.name)
                message = f"sums up `{event.name}` over all epochs, and divides it by what one of them has"
                yield self.at(event, message)

    def _emptied(self, function: Function) -> Iterator[Diagnostic]:
        """A list that grows with each batch and is made anew in each pass, of which something is asked after the loop."""
        for index, block in enumerate(function.blocks):
            if block.kind != "for" or not LOADER.search(str(block.value)):
                continue
            inside = list(function.inside(index))
            emptied = {e.name: e for _, e in inside if e.kind == "assign" and e.block == index and _is_empty(e.value)}
            grown = {
                str(e.value.receiver) for _, e in inside if e.kind == "call" and e.value and e.value.method in GROWS
            }
            last = inside[-1][0] if inside else 0
            for name in sorted(emptied.keys() & grown):
                read = [at for at, e in enumerate(function.events) if at > last and _reads(e, name)]
                used = any(_reads(e, name) for _, e in inside if not (e.value and str(e.value.receiver) == name))
                if read and not used:
                    yield self.at(
                        emptied[name], f"empties `{name}` for each batch: after the loop it holds the last one"
                    )

    def _updated(self, script: Script) -> Iterator[Diagnostic]:
        """A metric of torchmetrics that is made once, and asked for its value after each epoch."""
        if any(
            base.method in FRAMES or "Lightning" in base.method for class_ in script.classes for base in class_.bases
        ):
            return
        reset = {str(call.receiver) for call in script.calls if call.method in RESET}
        for function in script.functions:
            updated = {str(call.receiver) for call in function.calls if call.method == "update"}
            made = {event.name for event in function.events if event.kind == "assign"}
            for event in function.events:
                call = event.value if event.kind == "call" and event.value is not None else None
                name = str(call.receiver) if call is not None and call.method == "compute" else ""
                if call is None or name not in updated or name in made or name in reset or _is_any_reset(reset, name):
                    continue
                if _is_metric(script, name) and _comes_again(script, function, event):
                    yield self.at(call, f"asks `{name}` for its value, and nothing resets it: earlier epochs count too")


def _is_empty(value: Value | None) -> bool:
    return value is not None and value.kind == "list" and not value.arguments


def _reads(event: Event, name: str) -> bool:
    return event.value is not None and any(part.kind == "name" and part.name == name for part in event.value.within())


def _is_zero(value: Value | None) -> bool:
    return value is not None and value.kind == "constant" and value.number == 0


def _is_divided(function: Function, loops: list[int], name: str, own: set[str]) -> bool:
    """Whether, after the loop over batches and in that over epochs, it is divided by a length or by a count of that epoch."""
    batches = {index for index, _ in function.inside(loops[0])}
    for at, event in function.inside(loops[1]):
        for part in event.value.within() if at not in batches and event.value is not None else ():
            if part.kind == "operation" and part.name == "/" and _sum(part.arguments[0]) == name:
                count = part.arguments[1]
                return count.name == "len" or count.name in own or str(count).startswith("len(")
    return False


def _sum(value: Value) -> str:
    """The name of a sum, alone or times a number: `100.0 * correct`."""
    if value.kind == "operation" and value.name == "*":
        return next((part.name for part in value.arguments if part.kind == "name"), "")
    if value.kind == "call" and value.method in ("item", "double", "float") and value.receiver is not None:
        return value.receiver.name
    return value.name if value.kind == "name" else ""


def _is_any_reset(reset: set[str], name: str) -> bool:
    """Whether it is reset under another name: in a loop over all metrics, by the object that holds it."""
    last = name.rpartition(".")[2]
    return any(
        other.rpartition(".")[2] == last or other.rpartition(".")[2] in ("m", "metric", "metrics") for other in reset
    )


def _is_metric(script: Script, name: str) -> bool:
    """Whether what is made under that name, or under that of the parameter, is one of torchmetrics."""
    last = name.rpartition(".")[2]
    for event in (event for function in script.functions for event in function.events if event.kind == "assign"):
        if event.name.rpartition(".")[2] == last and event.value is not None:
            value = event.value
            while value.kind == "call" and value.method in ("to", "cuda") and value.receiver is not None:
                if value.base is None:
                    break
                value = value.base
            if value.kind == "call" and value.name.startswith("torchmetrics."):
                return True
    return False


def _comes_again(script: Script, function: Function, event: Event) -> bool:
    """Whether the value is asked for in a loop, or in a function that one calls, or that is called twice."""
    if any(function.blocks[b].is_loop for b in function.enclosing(event.block)):
        return True
    last = function.name.rpartition(".")[2]
    calls = [
        (f, e) for f in script.functions for e in f.events if e.kind == "call" and e.value and e.value.method == last
    ]
    looped = any(f.blocks[b].is_loop for f, e in calls for b in f.enclosing(e.block))
    return bool(last) and (looped or len(calls) > 1)
