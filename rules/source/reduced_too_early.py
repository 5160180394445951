"""ML460."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Loss
from modellint.source.sums import negated

CROSS = pattern(rb"ross_?[eE]ntropy")
WEIGHTED = pattern(rb"\* *[(\w.]*(?:mask|weight|valid)|(?:mask|weight|valid)\w*(?:\.\w+\([^()\n]*\))? *\*")
ONES = frozenset({1})
SHAPED = frozenset({"unsqueeze", "view", "view_as", "reshape", "expand", "expand_as", "float"})
TESTS = frozenset({"==", "!=", "<", "<=", ">", ">=", "~"})
REDUCES = frozenset("mean sum max min item size shape numel len dim norm std bincount".split())
TESTED = frozenset({"ne", "eq", "gt", "ge", "lt", "le", "isnan", "isfinite", "logical_not"})


class ReducedTooEarly(SourceRule):
    """A loss is averaged over the batch first, and weighted sample by sample after.

    Why: losses are means unless they are told otherwise. What comes after, a focal factor `(1 - p) ** gamma`, a mask or weights
        of the samples, then multiplies one number: hard samples count as much as easy ones, and what is masked counts in full.
    Fix: `reduction="none"`; weight, and reduce then.
    Ignore: where every batch is one sample.
    Reported: https://github.com/kaidic/LDAM-DRW/issues/6, https://github.com/jfzhang95/pytorch-deeplab-xception/issues/133,
        https://github.com/foamliu/InsightFace-v2/pull/39
    """

    code, severity, certain, topic = "ML460", Severity.WARNING, True, "loss"
    words = (
        ("gamma", "oss(", "** "),
        ("gamma", "oss(", "pow("),
        ("gamma", CROSS, "** "),
        ("gamma", CROSS, "pow("),
        ("_loss(", WEIGHTED),
        ("Loss(", WEIGHTED),
        ("cross_entropy(", WEIGHTED),
    )
    bad = (
        """
        class FocalLoss(nn.Module):
            def __init__(self, gamma=2):
                super().__init__()
                self.gamma = gamma
                self.ce = nn.CrossEntropyLoss()

            def forward(self, input, target):
                logp = self.ce(input, target)
                p = torch.exp(-logp)
                loss = (1 - p) ** self.gamma * logp
                return loss.mean()
        """,
        """
        def focal(logits, target, alpha=0.25, gamma=2.0):
            bce = F.binary_cross_entropy_with_logits(logits, target)
            return alpha * (1 - torch.exp(-bce)).pow(gamma) * bce
        """,
        """
        criterion = nn.CrossEntropyLoss(ignore_index=255, size_average=average)
        for image, target in loader:
            logpt = -criterion(model(image), target)
            pt = torch.exp(logpt)
            loss = -((1 - pt) ** gamma) * logpt
            loss.backward()
        """,
        """
        for x, y, mask in loader:
            loss = F.mse_loss(model(x), y)
            loss = (loss * mask).sum() / mask.sum()
            loss.backward()
        """,
        """
        criterion = nn.CrossEntropyLoss()
        for x, y in loader:
            loss = torch.mean(criterion(model(x), y) * weights[y])
            loss.backward()
        """,
        """
        def focal(logits, target, alpha=0.25, gamma=2.0):
            bce = F.binary_cross_entropy_with_logits(logits, target)
            p = torch.sigmoid(logits)
            p_t = p * target + (1 - p) * (1 - target)
            return (alpha * (1 - p_t) ** gamma * bce).mean()
        """,
        """
        for x, y, weight in loader:
            x, y, weight = x.to(device), y.to(device), weight.to(device)
            losses = F.cross_entropy(model(x), y)
            (losses * weight).mean().backward()
        """,
    )
    fixed = (
        None,
        """
        def focal(logits, target, alpha=0.25, gamma=2.0):
            bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
            return alpha * (1 - torch.exp(-bce)).pow(gamma) * bce
        """,
        None,
        """
        for x, y, mask in loader:
            loss = F.mse_loss(model(x), y, reduction="none")
            loss = (loss * mask).sum() / mask.sum()
            loss.backward()
        """,
        None,
        """
        def focal(logits, target, alpha=0.25, gamma=2.0):
            bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
            p = torch.sigmoid(logits)
            p_t = p * target + (1 - p) * (1 - target)
            return (alpha * (1 - p_t) ** gamma * bce).mean()
        """,
        """
        for x, y, weight in loader:
            x, y, weight = x.to(device), y.to(device), weight.to(device)
            losses = F.cross_entropy(model(x), y, reduction="none")
            (losses * weight).mean().backward()
        """,
    )
    good = (
        """
        for x, y, valid in loader:
            has_valid = valid.any()
            loss = F.mse_loss(model(x)[valid], y[valid])
            total = (loss * has_valid.float()).sum()
            total.backward()
        """,
        """
        for epoch in range(10):
            for x, y in loader:
                aux_weight = float(epoch)
                aux = F.mse_loss(model(x), y)
                total = (aux * (epoch >= 3)).mean()
                total.backward()
        """,
        """
        for epoch in range(10):
            for x, y in loader:
                loss = F.mse_loss(model(x), y)
                (loss * weights[epoch]).mean().backward()
                opt.step()
        """,
        """
        criterion = nn.CrossEntropyLoss()
        for x, targets in loader:
            outs = model(x)
            total = 0
            for i, y in enumerate(targets):
                loss = criterion(outs[i], y)
                total = total + (loss * task_weights[i]).mean()
            total.backward()
        """,
        """
        class FocalLoss(nn.Module):
            def __init__(self, gamma=2):
                super().__init__()
                self.gamma = gamma
                self.ce = nn.CrossEntropyLoss(reduction="none")

            def forward(self, input, target):
                logp = self.ce(input, target)
                p = torch.exp(-logp)
                return ((1 - p) ** self.gamma * logp).mean()
        """,
        """
        def evaluate(model, loader, gamma):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                perplexity = torch.exp(loss)
                print(perplexity, torch.exp(-loss) * gamma)
        """,
        """
        for x, y, mask in loader:
            loss = F.mse_loss(model(x) * mask, y * mask) * weight  # of the task, not of the samples
            total = (loss * task_weight).mean()
            total.backward()
        """,
        """
        for x, y, mask in loader:
            loss = F.mse_loss(model(x), y, reduction=how)
            loss = (loss * mask).sum() / mask.sum()
            loss.backward()
        """,
        """
        criterion = nn.CrossEntropyLoss(reduce=False)
        for x, y in loader:
            loss = criterion(model(x), y)
            (loss * weights[y]).mean().backward()
        """,
        """
        def forward(self, logits, target):
            bce = F.binary_cross_entropy_with_logits(logits, target)
            share = target.float().mean()
            return (bce * share * (1 + target.sum() / target.numel())).mean()
        """,
        """
        criterion = nn.MSELoss()
        for x, y, scale in loader:
            loss = criterion(model(x), y)
            loss = loss * scale.sum()
            loss.mean().backward()  # over the devices
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        losses = {id(loss.call): loss for loss in script.losses if loss.kind and loss.certain and _is_reduced(loss)}
        told = any(e.name.endswith(".reduction") for f in script.functions for e in f.events) if losses else True
        for function in script.functions if not told else ():
            for call in function.calls:
                if id(call) in losses:
                    name = _name(function, call)
                    if name and _focal(function, name):
                        yield self.at(
                            call, f"`{name}` is the mean of the batch, and the focal factor is made of it: one for all"
                        )
                    elif (weight := _weight(function, call, name)) is not None:
                        yield self.at(call, f"is one number for the batch, which `{weight}` can no longer weigh")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for loss in script.losses:
            if loss.location == finding.location and loss.made is None:
                given = loss.call.argument(None, "reduction")
                change = edit.add(loss.call, "reduction", '"none"') if given is None else edit.replace(given, '"none"')
                return Fix((change,), safe=False)
        return None


def _is_reduced(loss: Loss) -> bool:
    """Whether it surely gives one number."""
    settings = loss.settings
    given = settings.argument(None, "reduction")
    plain = not settings.unpacks and all(name != "reduce" for name, _ in settings.keywords)
    most = 1 if loss.made is not None else 3
    return plain and len(settings.arguments) <= most and (given is None or given.constant in ("mean", "sum"))


def _name(function: Function, call: Value) -> str:
    """The name that the loss, or its negative, is bound to, if it is bound to nothing else but what is made of it."""
    bound = [event for event in function.events if event.kind == "assign" and event.value is not None]
    name = next((event.name for event in bound if event.value is not None and _is(event.value, call)), "")
    others = (e.value for e in bound if e.name == name and e.value is not None and not _is(e.value, call))
    return name if all(_holds(value, name) for value in others) else ""


def _holds(value: Value, name: str) -> bool:
    return any(part.name == name or part.name.startswith(f"{name}.") for part in value.within())


def _is(value: Value, call: Value) -> bool:
    while (inner := negated(value)) is not None:
        value = inner
    return value is call


def _focal(function: Function, name: str) -> bool:
    """Whether `(1 - exp(-name)) ** gamma` is taken, written at once or in steps."""
    rests = _rests(function)
    likely = {
        e.name for e in function.events if rests and e.kind == "assign" and e.value and _exponential(e.value, name)
    }
    return any(rest.name in likely or _exponential(rest, name) for rest in rests)


@lru_cache(maxsize=1)
def _rests(function: Function) -> Sequence[Value]:
    """What is taken off one before a power is taken."""
    found = []
    for part in function.values:
        base = part.arguments[0] if part.name == "**" and part.arguments else None
        if part.kind == "call" and part.method == "pow":
            base = tensors.operand(part)
        sides = base.arguments if base is not None and base.kind == "operation" and base.name == "-" else ()
        found += [sides[1]] if len(sides) == 2 and sides[0].constant in ONES else []
    return found


def _exponential(value: Value, name: str) -> bool:
    if value.kind != "call" or value.method != "exp":
        return False
    given = tensors.operand(value)
    return given is not None and any(part.name == name for part in given.within())


def _weight(function: Function, call: Value, name: str) -> Value | None:
    """What the reduced loss is multiplied by, before it is reduced once more, if that surely differs from sample to sample."""
    for sides in _products(function):
        for one, other in (sides, sides[::-1]):
            if (one is call or (name and one.name == name and one.kind == "name")) and _differs(function, other, call):
                return other
    return None


@lru_cache(maxsize=1)  # each loss of a function is held against all of them
def _products(function: Function) -> Sequence[tuple[Value, ...]]:
    """The sides of the products that are reduced."""
    named = tensors.named(function)
    taken = [given for part in function.values if (given := _reduced(part)) is not None]
    made = [named.get(given.name, given) if given.kind == "name" else given for given in taken]
    return [product.arguments for product in made if product.kind == "operation" and product.name == "*"]


def _reduced(value: Value) -> Value | None:
    """What a mean or sum over everything is taken of."""
    if value.kind != "call" or value.method not in ("mean", "sum"):
        return None
    return tensors.operand(value)


def _differs(function: Function, weight: Value, loss: Value) -> bool:
    """Whether it is surely a tensor with an item for each sample: compared, picked by labels, arranged, or of the batch."""
    made = tensors.bound(function, weight.name) if weight.kind == "name" else weight
    for value in (weight, made):
        if value is None:
            continue
        tested = value.name in TESTS or value.method in TESTED
        shaped = value.kind == "call" and value.method in SHAPED and value.receiver is not None
        picked = value.kind == "item" and value.arguments[0].kind == "name"
        if (tested or shaped or picked) and _tells_apart(function, value, loss):
            return True
    summed = any(str(_reduced(part)) == str(weight) for part in function.values)
    return summed or _follows(function, weight, loss) or (made is not None and _of_batch(function, weight.name))


def _tells_apart(function: Function, value: Value, loss: Value) -> bool:
    """Whether what the loss compares, or a part of the batch, is in it: `epoch > 3` and `weights[task]` are one number."""
    given = (value.receiver if value.receiver is not None else value for value in loss.arguments[:2])
    names = {value.name for value in given if value.kind == "name"}
    parts = [part for part in value.within() if part.kind == "name"]
    parts += [value.receiver] if value.kind == "call" and value.receiver is not None else []
    return any(part.name in names or _of_batch(function, part.name) for part in parts)


def _follows(function: Function, weight: Value, loss: Value) -> bool:
    """Whether it is computed item by item from what the loss compares."""
    given = [part.name for part in loss.arguments[:2] if part.kind == "name"]
    parts = list(tensors.computed(function, weight))
    shared = any(_holds(part, name) for part in parts for name in given)
    return shared and not any(part.method in REDUCES or part is loss for part in parts)


def _of_batch(function: Function, name: str) -> bool:
    """Whether the name is one of those that a loop over batches binds to their parts, or that part on another device."""
    bound = tensors.bounds(function, name)
    first = [value for value in bound if not _holds(value, name)]
    counted = any("enumerate(" in str(value) for value in first)
    parts = all(v.kind == "item" and v.base is not None and v.base.kind == "element" for v in first)
    return bool(first) and parts and not counted
