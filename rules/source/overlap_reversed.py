"""ML466."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from functools import lru_cache

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup, tensors
from modellint.source.ascent import ascends
from modellint.source.code import Function, Value
from modellint.source.facts import Summand, TrainingLoop

OVERLAP = pattern(
    r"(\w+_)?(dice|iou|jaccard|tversky|f1|overlap)(_?(coeff?|coefficient|score|index|metric))?", re.IGNORECASE
)
SQUASHES = frozenset(
    {"sigmoid", "softmax", "expit", "sigmoid_", "Sigmoid", "Softmax", "one_hot", "round", "argmax", "logsigmoid"}
)
SCORED = frozenset({"BCEWithLogitsLoss", "CrossEntropyLoss"})
ARRANGES = frozenset({"view", "reshape", "flatten", "contiguous", "squeeze", "float"})
DICE = pattern(rb"dice(?<![a-zA-Z]dice)")  # no indices
SHARED = pattern(rb"inter(?<![.\w]inter)(?:section)?\b")  # no sets


class OverlapReversed(SourceRule):
    """The overlap of prediction and mask is minimised, or is measured of scores that are no probabilities.

    Why: Dice and IoU are one where both agree; as a loss they are subtracted from one. Added as they are, they train the model to
        miss the mask. Of raw scores, which may be negative and of any size, the ratio is above one or below zero and has no
        lowest value: the loss falls without end while the masks get worse.
    Fix: `1 - dice(torch.sigmoid(scores), mask)`.
    Ignore: where the masks are to be missed, by an attack.
    Reported: https://github.com/milesial/Pytorch-UNet/issues/271, https://github.com/akirasosa/mobile-semantic-segmentation/issues/24,
        https://github.com/jakeret/tf_unet/issues/15
    """

    code, severity, certain, topic = "ML466", Severity.ERROR, False, "loss"
    words = (
        *((word, "sum(") for word in ("Dice", "jaccard", "Jaccard", "iou_loss", "IoULoss")),
        ("dice", "sum(", DICE),
        ("intersection", "sum(", SHARED),
        ("inter = ", "sum(", SHARED),
    )
    bad = (
        """
        class DiceBCELoss(nn.Module):
            def __init__(self):
                super().__init__()
                self.bce = nn.BCEWithLogitsLoss()

            def forward(self, logits, target):
                prob = torch.sigmoid(logits).flatten(1)
                flat = target.flatten(1)
                dice = 2 * (prob * flat).sum(1) / (prob.sum(1) + flat.sum(1) + 1)
                return self.bce(logits, target) + dice.mean()

        criterion = DiceBCELoss()
        for images, masks in loader:
            loss = criterion(net(images), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def loss_of(logits, target):
            print(torch.sigmoid(logits).mean())
            bce = F.binary_cross_entropy_with_logits(logits, target)
            intersection = (logits * target).sum()
            return bce + 1 - 2 * intersection / (logits.sum() + target.sum())
        """,
        """
        def dice(pred, target, eps=1e-6):
            inter = (pred * target).sum()
            return (2 * inter + eps) / (pred.sum() + target.sum() + eps)

        for image, mask in loader:
            out = model(image)
            loss = F.binary_cross_entropy_with_logits(out, mask) + dice(torch.sigmoid(out), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for image, mask in loader:
            out = torch.sigmoid(model(image))
            intersection = torch.sum(out * mask)
            iou = intersection / (out.sum() + mask.sum() - intersection)
            optimizer.zero_grad()
            iou.backward()
            optimizer.step()
        """,
        """
        class DiceBCE(nn.Module):
            def forward(self, logits, target):
                bce = F.binary_cross_entropy_with_logits(logits, target)
                flat, target = logits.view(-1), target.view(-1)
                intersection = (flat * target).sum()
                return bce + 1 - (2 * intersection + 1) / (flat.sum() + target.sum() + 1)
        """,
        """
        def dice_loss(pred, target):
            inter = 2 * (pred * target).sum()
            return 1 - inter / (pred.sum() + target.sum())

        criterion = nn.BCEWithLogitsLoss()
        for image, mask in loader:
            out = model(image)
            loss = criterion(out, mask) + dice_loss(out, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )
    good = (
        """
        class DiceBCELoss(nn.Module):
            def __init__(self):
                super().__init__()
                self.bce = nn.BCEWithLogitsLoss()

            def forward(self, logits, target):
                prob = torch.sigmoid(logits).flatten(1)
                flat = target.flatten(1)
                dice = 2 * (prob * flat).sum(1) / (prob.sum(1) + flat.sum(1) + 1)
                return self.bce(logits, target) + (1 - dice).mean()

        criterion = DiceBCELoss()
        for images, masks in loader:
            loss = criterion(net(images), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def loss_of(logits, target):
            bce = F.binary_cross_entropy_with_logits(logits, target)
            logits.sigmoid_()
            intersection = (logits * target).sum()
            return bce + 1 - 2 * intersection / (logits.sum() + target.sum())
        """,
        """
        def dice(p, t):
            intersection = (p * t).sum()
            return 2 * intersection / (p.sum() + t.sum() + 1)
        for x, y in loader:
            p = torch.sigmoid(model(x))
            loss = 1 - dice(p, y) + dice(p, 1 - y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
        """
        def overlap(a, b, eps=1e-6):
            intersection = (a * b).sum()
            return intersection / (a.sum() + b.sum() - intersection + eps)
        for x, y in loader:
            out = model(x)
            first, second = torch.sigmoid(out[:, 0]), torch.sigmoid(out[:, 1])
            loss = F.binary_cross_entropy(first, y) + 0.1 * overlap(first, second)  # heads are to differ
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
        """
        def calc_loss(pred, target):
            bce = F.binary_cross_entropy_with_logits(pred, target)
            pred = torch.sigmoid(pred)
            inter = (pred * target).sum()
            dice = 1 - (2 * inter + 1) / (pred.sum() + target.sum() + 1)
            return bce + dice
        for x, y in loader:
            loss = calc_loss(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
        """
        def dice(pred, target, eps=1e-6):
            inter = (pred * target).sum()
            return (2 * inter + eps) / (pred.sum() + target.sum() + eps)

        for image, mask in loader:
            out = model(image)
            loss = F.binary_cross_entropy_with_logits(out, mask) + 1 - dice(torch.sigmoid(out), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def dice(pred, target):
            inter = (pred * target).sum()
            return 1 - 2 * inter / (pred.sum() + target.sum())

        criterion = nn.BCEWithLogitsLoss()
        for image, mask in loader:
            out = model(image)
            loss = criterion(out, mask)
            out = out.sigmoid()
            loss = loss + dice(out, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def dice_loss(logits, target):
            pred = torch.sigmoid(logits)
            inter = (pred * target).sum()
            return 1 - 2 * inter / (pred.sum() + target.sum())

        criterion = nn.BCEWithLogitsLoss()
        for image, mask in loader:
            out = model(image)
            loss = criterion(out, mask) + dice_loss(out, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y, weight in loader:
            error = (model(x) - y) ** 2
            loss = (error * weight).sum() / weight.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        told = set()
        for loop in script.training_loops if not ascends(script) else ():
            for backward in loop.of("backward"):
                raised = {part.given.name for part in backward.summands if part.given is not None and part.sign < 0}
                for part in backward.summands:
                    place = part.given or part.value
                    if place.location not in told and part.sign > 0 and _is_overlap(script, part):
                        told.add(place.location)
                        if place.name in raised or _is_of_parts(script, part, loop):
                            continue
                        yield self.at(
                            place, "lowers the overlap of prediction and mask: as a loss it is subtracted from one"
                        )
                    elif place.location not in told and part.sign < 0 and (scores := _raw(script, part)):
                        told.add(place.location)
                        yield self.at(
                            place, f"measures the overlap of `{scores}`, which are raw scores: they lack a sigmoid"
                        )
        yield from self._written(script)

    def _written(self, script: Script) -> Iterator[Diagnostic]:
        """The ratios that are computed of the very scores of a loss with logits."""
        for loss in script.losses:
            function, given = lookup.function(script, loss.location), loss.call.argument(0, "input")
            if loss.kind not in SCORED or not loss.certain or function is None or given is None:
                continue
            name = _root(function, given)
            for product in _products(function) if name else ():
                if any(_root(function, side) == name for side in product.arguments) and _is_ratio(function, product):
                    yield self.at(
                        product, f"measures the overlap of `{name}`, which are raw scores: they lack a sigmoid"
                    )
                    break


def _products(function: Function) -> Iterator[Value]:
    return (
        part for part in function.values if part.kind == "operation" and part.name == "*" and len(part.arguments) == 2
    )


def _root(function: Function, value: Value) -> str:
    """The name of a tensor that is only arranged: `logits` of `flat`, if `flat = logits.view(-1)`."""
    for _ in range(4):
        while value.kind == "call" and value.method in ARRANGES and value.receiver is not None:
            value = value.receiver
        bound = tensors.bounds(function, value.name)
        if value.name in _squashed(function):
            return ""
        if value.kind != "name" or len(bound) != 1 or bound[0].kind != "call":
            return value.name if value.kind == "name" and len(bound) < 2 else ""
        if bound[0].method not in ARRANGES:
            return value.name
        value = bound[0]
    return ""


@lru_cache(maxsize=1)  # it is asked of each loss of a function
def _squashed(function: Function) -> Set[str]:
    """The names that are kept by what becomes probabilities: `logits = logits.sigmoid()`, `logits.sigmoid_()`."""
    bound = [(e.name, part) for e in function.events if e.kind == "assign" and e.value for part in e.value.within()]
    kept = [part for name, part in bound if part.method in SQUASHES and _given(part) == name]
    changed = [call for call in function.calls if call.method in SQUASHES and call.method.endswith("_")]
    return set(map(_given, (*kept, *changed)))


def _given(call: Value) -> str:
    given = tensors.operand(call)
    return given.name if given is not None and given.kind == "name" else ""


def _is_ratio(function: Function, product: Value) -> bool:
    """Whether a sum of the product is divided by sums of both of its sides."""
    names = [side.name for side in product.arguments]
    for part in function.values:
        if part.kind == "operation" and part.name == "/":
            above, below = part.arguments
            added = {str(_summed(v)) for v in tensors.computed(function, below)}
            if all(names) and set(names) <= added and any(v is product for v in tensors.origins(function, above)):
                return True
    return False


def _summed(value: Value) -> Value | None:
    """What a sum is taken of, but for its square."""
    if value.kind != "call" or value.method != "sum":
        return None
    inner = tensors.operand(value)
    squared = inner is not None and inner.name in ("**", "*") and inner.kind == "operation"
    return inner.arguments[0] if squared and inner is not None else inner


def _is_overlap(script: Script, part: Summand) -> bool:
    value = part.value
    if value.kind != "operation" or value.name != "*" or len(value.arguments) != 2 or part.cut is not None:
        return False
    if value.location.path != script.path:
        return part.given is not None and OVERLAP.fullmatch(part.given.method) is not None
    function = lookup.function(script, value.location)
    return function is not None and _is_ratio(function, value)


def _is_of_parts(script: Script, part: Summand, loop: TrainingLoop) -> bool:
    """Whether it is that of two predictions, which may be meant to have nothing in common."""
    sides = part.given.arguments if part.given is not None else part.value.arguments
    function = lookup.function(script, (part.given or part.value).location)
    models = {id(act.call) for act in loop.of("model")}
    made = [any(id(v) in models for v in tensors.origins(function, side)) for side in sides] if function else []
    return len(made) > 1 and all(made)


def _raw(script: Script, part: Summand) -> str:
    """The scores that a function which measures overlap is given as they are, where a loss with logits takes the same."""
    if part.given is None or part.value.location.path != script.path or not _is_overlap(script, part):
        return ""
    own, function = lookup.function(script, part.value.location), lookup.function(script, part.given.location)
    if own is None or function is None or any(call.method in SQUASHES for call in own.calls):
        return ""
    scores = {_root(function, given) for given in part.given.arguments}
    losses = (loss for loss in script.losses if loss.kind in SCORED and loss.certain)
    inputs = (loss.call.argument(0, "input") for loss in losses if lookup.function(script, loss.location) is function)
    return next((name for given in inputs if given is not None and (name := _root(function, given)) in scores), "")
