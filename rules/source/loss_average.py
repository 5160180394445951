"""ML432."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tallies
from modellint.source.code import Function, Value
from modellint.source.facts import Loss

READS = frozenset("item float cpu detach numpy double data".split())  # that leave the number as it is
SUMMED = pattern(rb"(?:\+=|= *[\w.]+ *\+)[^\n]*(?:\n[^\n]*){0,2}?\.item\(\)")


class LossAverage(SourceRule):
    """Means of batches are added up and divided by the number of samples, or sums over samples by that of batches.

    Why: a loss with `reduction="mean"`, as they all have it by default, is already divided by the batch. The sum of such means
        over `len(loader.dataset)` is too small by the batch size, that of sums over `len(loader)` too large by it: the number
        cannot be held against that of another loop, batch size or paper, nor be the bar of a schedule or of early stopping.
    Fix: add `loss.item() * len(x)` and divide by `len(loader.dataset)`, or add `loss.item()` and divide by `len(loader)`.
    Ignore: when every batch holds one sample (not reported where the file says so).
    Reported: https://github.com/pytorch/tutorials/issues/1486, https://github.com/pytorch/tutorials/issues/179,
        https://github.com/mahmoodlab/PathomicFusion/pull/3
    """

    code, severity, certain, topic = "ML432", Severity.WARNING, True, "evaluation"
    words = (("loss", "/ len("), ("loss", "/len("), ("loss", "/= len("), ("loss", ".item()", "len(", "no_grad", SUMMED))
    bad = (
        """
        loss_fn = nn.CrossEntropyLoss()

        def test(dataloader, model):
            size = len(dataloader.dataset)
            test_loss, correct = 0, 0
            with torch.no_grad():
                for x, y in dataloader:
                    pred = model(x)
                    test_loss += loss_fn(pred, y).item()
                    correct += (pred.argmax(1) == y).float().sum().item()
            test_loss /= size
            print(test_loss, correct / size)
        """,
        """
        def evaluate(model, loader):
            total = 0.0
            for x, y in loader:
                total += F.mse_loss(model(x), y, reduction="sum").item()
            return total / len(loader)
        """,
        """
        criterion = nn.BCEWithLogitsLoss()
        running = 0.0
        for x, y in tqdm(train_loader):
            loss = criterion(model(x), y)
            running += float(loss)
        print(running / len(train_loader.dataset))
        """,
    )
    good = (
        """
        criterion = nn.CrossEntropyLoss()
        test_loss = 0.0
        for x, y in test_loader:
            test_loss += criterion(model(x), y).item()
        test_loss /= len(test_loader.dataset)
        print("average loss", test_loss * args.batch_size)
        """,
        """
        criterion = nn.CrossEntropyLoss()
        summed = nn.CrossEntropyLoss(reduction="sum")
        mean, samples, all = 0.0, 0.0, 0.0
        for x, y in loader:
            loss = criterion(model(x), y)
            mean += loss.item()
            samples += loss.item() * x.size(0)
            all += summed(model(x), y).item()
        print(mean / len(loader), samples / len(loader.dataset), all / len(loader.dataset))
        """,
        """
        criterion = nn.CrossEntropyLoss()
        loader = DataLoader(data, batch_size=1)
        total = 0.0
        for x, y in loader:
            total += criterion(model(x), y).item()
        print(total / len(loader.dataset))
        """,
        """
        total = 0.0
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            loss = loss * len(y)
            total += loss.item()
        print(total / len(loader.dataset))
        """,
        """
        criterion = nn.CrossEntropyLoss(reduction=args.reduction)
        total = 0.0
        for x, y in loader:
            total += criterion(model(x), y).item()
        print(total / len(loader.dataset))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        losses = {id(loss.call): loss for loss in script.losses if loss.kind and loss.certain}
        if not losses or any(tallies.single(loader.call) for loader in script.loaders):
            return
        made = tallies.loaders(script)
        for function in script.functions:
            added = {
                name: (over, _reduction(function, value, losses)) for name, over, value in tallies.sums(function, made)
            }
            for division, measured in tallies.divisions(function):
                name = division.arguments[0].name
                over, reduction = added.get(name, ("", "")) if not _is_rescaled(function, name, division) else ("", "")
                if reduction == "mean" and str(measured) == f"{over}.dataset":
                    yield self.at(division, f"divides the means of batches in `{name}` by the number of samples")
                elif reduction == "sum" and str(measured) == over:
                    yield self.at(division, f"divides the sums over samples in `{name}` by the number of batches")


def _is_rescaled(function: Function, name: str, division: Value) -> bool:
    """Whether what comes of the division is multiplied where it is shown: `test_loss * batch_size`."""
    line = division.location.line or 0
    later = (e.value for e in function.events if e.value is not None and (e.location.line or 0) > line)
    parts = (part for value in later for part in value.within() if part.kind == "operation" and part.name == "*")
    return any(given.name == name for part in parts for given in part.arguments)


def _reduction(function: Function, added: Value, losses: Mapping[int, Loss]) -> str:
    """How what is added was made of the losses of a batch: "mean", "sum", or "" where it cannot be told."""
    while added.method in READS and (added.kind in ("call", "attribute") or added.receiver is not None):
        inner = added.receiver if added.receiver is not None else next(iter(added.arguments), None)
        if inner is None:
            return ""
        added = inner
    named = [e.value for e in function.events if e.kind in ("assign", "augment") and e.name == added.name]
    values = named if added.kind == "name" else [added]
    found = {_written(losses[id(value)]) if id(value) in losses else "" for value in values}
    return found.pop() if len(found) == 1 else ""


def _written(loss: Loss) -> str:
    settings = loss.settings
    if settings.unpacks or any(name in ("size_average", "reduce") for name, _ in settings.keywords):
        return ""
    given = settings.argument(None, "reduction")
    if given is None:
        return "mean"
    return {"mean": "mean", "batchmean": "mean", "sum": "sum"}.get(str(given.constant), "")
