"""ML465."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup, tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Loss

EQUAL = frozenset({"eq", "equal"})
UNEQUAL = frozenset({"!=", ">", ">=", "<", "<="})
CHOOSES = frozenset({"ne", "gt", "ge", "lt", "masked_select", "logical_and", "logical_not", "nonzero", "where", "isin"})
HINTS = pattern(r"mask|valid|active|keep|not_?pad|non_?pad|ignor|lengths|n_?tok|num_?tok", re.IGNORECASE)
COUNTS = frozenset({"numel", "nelement", "size"})


class PaddingInMetric(SourceRule):
    """The accuracy counts the places that the loss ignores.

    Why: where labels are filled up, or some are not to be judged, the loss is told by `ignore_index`; the share of right answers
        is not. Places that are never right make it too low, padding that the model learns to repeat too high, and by another
        amount for each length of the batch: runs cannot be compared, and the best epoch may be the wrong one.
    Fix: `keep = labels != ignore_index`, `correct = (predicted[keep] == labels[keep]).sum()`, `total = keep.sum()`.
    Ignore: where no label of the data that is measured is ignored.
    Reported: https://github.com/open-mmlab/mmsegmentation/issues/1209, https://github.com/jsbaan/transformer-from-scratch/issues/7,
        https://github.com/DaoyuanLi2816/Molecule-Generator/pull/21
    """

    code, severity, certain, topic = "ML465", Severity.WARNING, True, "evaluation"
    words = (("ignore_index", "=="), ("ignore_index", ".eq("))
    bad = (
        """
        criterion = nn.CrossEntropyLoss(ignore_index=PAD)

        def evaluate(model, loader):
            correct, total = 0, 0
            for tokens, labels in loader:
                logits = model(tokens)
                loss = criterion(logits.view(-1, 10), labels.view(-1))
                predicted = logits.argmax(-1)
                correct += (predicted == labels).sum().item()
                total += labels.numel()
            return correct / total
        """,
        """
        for image, target in loader:
            out = net(image)
            loss = F.cross_entropy(out, target, ignore_index=255)
            accuracy = out.argmax(1).eq(target).float().mean()
            loss.backward()
        """,
        """
        criterion = nn.CrossEntropyLoss(ignore_index=-100)

        def train(model, loader):
            for tokens, tags in loader:
                loss = criterion(model(tokens).transpose(1, 2), tags)
                loss.backward()

        def evaluate(model, loader):
            correct = total = 0
            for tokens, tags in loader:
                correct += (model(tokens).argmax(-1) == tags).sum().item()
                total += tags.numel()
            return correct / total
        """,
    )
    good = (
        """
        criterion = nn.CrossEntropyLoss(ignore_index=PAD)
        def evaluate(model, loader):
            n = good = 0
            for tokens, labels in loader:
                out = model(tokens)
                loss = criterion(out, labels)
                pads = (labels == PAD).sum().item()
                pred = out.argmax(1)
                pred = torch.where(labels == PAD, torch.full_like(pred, -1), pred)
                good += (pred == labels).sum().item()
                n += labels.numel() - pads
            return good / n
        """,
        """
        criterion = nn.CrossEntropyLoss(ignore_index=0)
        def evaluate(model, loader):
            correct, total, running = 0, 0, 0.0
            for tokens, labels, lengths in loader:
                logits = model(tokens)
                running += criterion(logits.transpose(1, 2), labels).item()
                correct += (logits[..., 1:].argmax(-1) + 1 == labels).sum().item()
                total += lengths.sum().item()
            return correct / total, running / len(loader)
        """,
        """
        criterion = nn.CrossEntropyLoss(ignore_index=-100)
        def evaluate(model, loader):
            correct, total, running = 0, 0, 0.0
            for batch in loader:
                labels = batch["labels"]
                logits = model(batch["ids"])
                running += criterion(logits.view(-1, logits.size(-1)), labels.view(-1)).item()
                correct += (logits.argmax(-1) == labels).sum().item()
                total += batch["n_tokens"].sum().item()
            return correct / total
        """,
        """
        criterion = nn.CrossEntropyLoss(ignore_index=PAD)

        def evaluate(model, loader):
            correct, total = 0, 0
            for tokens, labels in loader:
                logits = model(tokens)
                loss = criterion(logits.view(-1, 10), labels.view(-1))
                keep = labels != PAD
                correct += (logits.argmax(-1) == labels)[keep].sum().item()
                total += keep.sum().item()
            return correct / total
        """,
        """
        for image, target in loader:
            out = net(image)
            loss = F.cross_entropy(out, target, ignore_index=255)
            hit = out.argmax(1).eq(target).sum()  # 255 is never predicted
            accuracy = hit / target.ne(255).sum()
            loss.backward()
        """,
        """
        criterion = nn.CrossEntropyLoss(ignore_index=-1)

        def evaluate(model, loader):
            for tokens, tags, kind in loader:
                loss = criterion(model(tokens), tags)
                right = (model.kind(tokens).argmax(-1) == kind).float().mean()
        """,
        """
        criterion = nn.CrossEntropyLoss()  # ignore_index is not given

        def evaluate(model, loader):
            for tokens, tags in loader:
                loss = criterion(model(tokens), tags)
                right = (model(tokens).argmax(-1) == tags).float().mean()
        """,
    )
    suspected = (
        """
        def loss_of(logits, targets):
            return F.cross_entropy(logits.view(-1, 10), targets.view(-1), ignore_index=-1)

        def judge_images(net, loader):
            right = n = 0
            for x, targets in loader:  # classes of images: none is ignored
                right += (net(x).argmax(1) == targets).sum().item()
                n += len(targets)
            return right / n
        """,
        """
        criterion = nn.CrossEntropyLoss(weight=None, ignore_index=-100, reduction="mean")
        for x, y in loader:
            out = net(x)
            loss = criterion(out, y)
            acc = (out.argmax(1) == y).float().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        kinds = [loss for loss in script.losses if loss.kind in ("CrossEntropyLoss", "NLLLoss")]
        ignoring = [loss for loss in kinds if loss.settings.argument(None, "ignore_index") is not None]
        if not ignoring or len(ignoring) != len(kinds):
            return
        ignored = {str(loss.settings.argument(None, "ignore_index")) for loss in ignoring}
        usual = all(_is_usual(loss) for loss in ignoring)
        names, judged = set[str](), list[Function]()
        for loss in ignoring:
            function, target = lookup.function(script, loss.location), loss.call.argument(1, "target")
            if function is not None and target is not None and loss.location.path == script.path:
                names.add(_label(function, target))
                judged.append(function)
        for function in script.functions:
            counted = [part for part in _parts(function) if _counts(function, part)] if names else []
            for call in counted:
                compared = _comparison(function, call)
                sides = compared if compared is not None else ()
                if any(_label(function, side) in names - {""} for side in sides) and not _chooses(
                    function, names, ignored
                ):
                    sure = function in judged and not usual  # elsewhere other data may be called so
                    yield self.at(call, "counts the places that the loss is told to ignore", certain=sure)
                    break


def _is_usual(loss: Loss) -> bool:
    """Whether what is ignored is the default, which is often written where no label is -100."""
    given = loss.settings.argument(None, "ignore_index")
    return given is not None and str(given) == "-100"


def _parts(function: Function) -> Iterator[Value]:
    return (part for e in function.events if e.kind == "call" and e.value is not None for part in (e.value,))


def _label(function: Function, value: Value) -> str:
    """The name by which a batch gives it: `labels` of `labels.view(-1)`."""
    for _ in range(4):
        value = tensors.bare(value)
        made = tensors.bound(function, value.name) if value.kind == "name" else None
        if made is None or not (made.kind == "call" and made.method in tensors.MOVES | {"reshape", "flatten"}):
            break
        if str(tensors.bare(made)) == value.name:
            break
        value = made
    return value.name if value.kind == "name" else ""


def _counts(function: Function, call: Value) -> bool:
    """Whether it is the mean of something, or a sum beside which all places are counted."""
    if call.method == "mean":
        return True
    every = any(part.method in COUNTS or part.name == "len" for part in _parts(function))
    return call.method == "sum" and every


def _comparison(function: Function, call: Value) -> tuple[Value, ...] | None:
    """The two sides of the comparison of which a call takes the sum or the mean."""
    value = tensors.operand(call)
    for _ in range(4):
        if value is None:
            return None
        if value.kind == "name":
            value = tensors.bound(function, value.name)
        elif value.kind == "call" and value.method in ("float", "double", "long", "int", "cpu", "type"):
            value = value.receiver
        elif value.kind == "operation":
            return value.arguments if value.name == "==" else None
        elif value.kind == "call" and value.method in EQUAL:
            receiver = value.receiver
            return (
                value.arguments
                if value.name.startswith("torch.")
                else (*value.arguments, *((receiver,) if receiver else ()))
            )
        else:
            return None
    return None


def _is_equality(part: Value) -> bool:
    return part.method in EQUAL if part.kind == "call" else part.name == "=="


def _chooses(function: Function, names: set[str], ignored: set[str]) -> bool:
    """Whether the function chooses places by the labels that they hold, or speaks of it."""
    for event in function.events:
        for part in event.value.within() if event.value is not None else ():
            sides = (part.receiver, *part.arguments) if part.kind == "call" else part.arguments
            asked = part.method in CHOOSES if part.kind == "call" else part.name in UNEQUAL
            asked = asked or (_is_equality(part) and any(str(side) in ignored for side in sides))
            if asked and any(side is not None and _label(function, side) in names for side in sides):
                return True
            told = part.constant if part.kind == "constant" else part.method if part.kind == "name" else ""
            if isinstance(told, str) and HINTS.search(told):
                return True
    return any(HINTS.search(e.name) for e in function.events if e.kind == "assign")
