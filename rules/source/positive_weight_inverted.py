"""ML473."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value

KEEPS = frozenset(
    "item float clamp clamp_min clamp_max clip to cuda cpu tensor as_tensor FloatTensor Tensor max maximum double view "
    "reshape unsqueeze squeeze int from_numpy sqrt log1p array".split()
)
LABELS = pattern(r"(\w+\.)*(\w+_)?(y|labels?|targets?|truth|gts?|pos\w*)(_\w+)?")
OTHERS = pattern(r"neg|back|no_|non|zero|healthy|inv|not_")
WHOLE = frozenset({"len", "numel"})
SIZES = frozenset({"shape", "size"})
DEEPEST = 6


class PositiveWeightInverted(SourceRule):
    """`pos_weight` is the positives over the negatives: the rare class is made lighter still.

    Why: `pos_weight` multiplies the loss of the positive samples. To balance both classes it is the number of negatives
        over that of positives; the other way round one positive in a hundred weighs as one in ten thousand, and the model
        learns to answer no.
    Fix: `negatives / positives`.
    Ignore: when false alarms cost so much more than misses that it is meant.
    Reported: https://github.com/pytorch/pytorch/issues/5660
    """

    code, severity, certain, topic = "ML473", Severity.WARNING, True, "loss"
    twins = ("class-imbalance",)
    words = (("pos_weight=", "/", "BCEWithLogitsLoss"), ("pos_weight=", "/", "binary_cross_entropy_with_logits"))
    bad = (
        """
        positives = labels.sum()
        negatives = len(labels) - positives
        criterion = nn.BCEWithLogitsLoss(pos_weight=positives / negatives)
        """,
        """
        n_pos, n_neg = (y == 1).sum(), (y == 0).sum()
        weight = torch.tensor([n_pos / n_neg])
        criterion = nn.BCEWithLogitsLoss(pos_weight=weight.to(device))
        """,
        """
        def weights(labels):
            p = labels.sum(dim=0)
            n = labels.shape[0] - p
            return p / n.clamp(min=1)

        loss = F.binary_cross_entropy_with_logits(scores, y, pos_weight=weights(train_labels))
        """,
        """
        share = train_y.mean()
        criterion = nn.BCEWithLogitsLoss(pos_weight=share / (1 - share))
        """,
    )
    good = (
        """
        positives = labels.sum()
        negatives = len(labels) - positives
        criterion = nn.BCEWithLogitsLoss(pos_weight=negatives / positives)
        """,
        """
        n_pos, n_neg = (y == 1).sum(), (y == 0).sum()
        criterion = nn.BCEWithLogitsLoss(pos_weight=n_neg / n_pos)
        """,
        """
        n_zero = (y == 0).sum()
        rest = len(y) - n_zero
        criterion = nn.BCEWithLogitsLoss(pos_weight=n_zero / rest)
        """,
        """
        share = train_y.mean()
        criterion = nn.BCEWithLogitsLoss(pos_weight=(1 - share) / share)
        other = nn.BCEWithLogitsLoss(pos_weight=len(y) / y.sum())
        """,
        """
        flipped = 1 - labels
        healthy = flipped.sum()
        criterion = nn.BCEWithLogitsLoss(pos_weight=healthy / (len(flipped) - healthy))
        """,
        """
        positives = labels.sum()
        criterion = nn.BCEWithLogitsLoss(pos_weight=positives / (len(labels) - positives))
        loss = criterion(model(x), 1 - labels)
        """,
        """
        n = neg_mask.sum()
        criterion = nn.BCEWithLogitsLoss(pos_weight=n / (neg_mask.numel() - n))
        weights = counts.sum() / (len(counts) * counts)
        criterion = nn.BCEWithLogitsLoss(pos_weight=weights[1] / weights[0])
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for call in function.calls:
                given = call.argument(None, "pos_weight")
                ratio = _ratio(script, function, given, DEEPEST) if given is not None else None
                if ratio is not None and _is_count(*ratio[:2]) and _is_rest(*ratio) and not _is_flipped(script):
                    message = "is given the positives over the negatives: the rarer they are, the less they weigh"
                    # what is drawn evenly may be weighed back to the shares that it has
                    drawn = any(other.method.endswith("Sampler") for other in script.calls)
                    yield self.at(call, message, certain=not drawn)


def _is_flipped(script: Script) -> bool:
    """Whether a loss is given the labels the other way round, `1 - y`: its positives are the negatives."""
    losses = [loss.call for loss in script.losses if loss.kind == "BCEWithLogitsLoss"]
    for function in script.functions:
        for call in (call for call in function.calls if call in losses):
            target = call.argument(1, "target")
            made = _plain(function, target, DEEPEST) if target is not None else Value("unknown")
            if made.method == "logical_not" or (
                made.kind == "operation"
                and (
                    made.name in ("~", "not")
                    or (made.name == "-" and made.arguments[0].constant == 1)
                    or (made.name, made.arguments[-1].constant) in (("==", 0), ("!=", 1))
                )
            ):
                return True
    return False


def _ratio(script: Script, function: Function, value: Value, depth: int) -> tuple[Function, Value, Value] | None:
    """The two sides of the division that a weight is, and the function in which it is made."""
    value = _plain(function, value, depth)
    if value.kind == "operation" and value.name == "/" and len(value.arguments) == 2:
        return function, _plain(function, value.arguments[0], depth), _plain(function, value.arguments[1], depth)
    helper = next((f for f in script.functions if f.name == value.name and f.kind == "function"), None)
    if value.kind != "call" or helper is None or not depth:
        return None
    returned = [e.value for e in helper.events if e.kind == "return" and e.value is not None]
    return _ratio(script, helper, returned[0], depth - 1) if len(returned) == 1 else None


def _plain(function: Function, value: Value, depth: int) -> Value:
    """What a name is bound to, if once, without what keeps the order of numbers."""
    for _ in range(depth):
        inside: Value | None = None
        if value.kind == "name":
            made = [e.value for e in function.events if e.name == value.name and e.kind in ("assign", "augment")]
            inside = made[0] if len(made) == 1 else None
        elif value.kind == "call" and value.method in KEEPS:
            first = value.arguments[0] if value.arguments and value.arguments[0].kind != "constant" else None
            inside = first if value.receiver is None or value.name.startswith(("torch.", "numpy.")) else value.receiver
        elif value.kind == "list" and len(value.arguments) == 1:
            inside = value.arguments[0]
        if inside is None:
            break
        value = inside
    return value


def _is_count(function: Function, positives: Value) -> bool:
    """Whether a number is that of the labels that are 1: `y.sum()`, `(y == 1).sum()`, `y.mean()`."""
    counted = _counted(positives)
    if counted is None:
        return False
    if counted.kind == "operation":
        return counted.name in ("==", ">") and counted.arguments[-1].constant == int(counted.name == "==")
    whole = counted.base if counted.kind == "item" and counted.base is not None else counted
    named = whole.kind == "name" and LABELS.fullmatch(whole.name) and not OTHERS.search(whole.name)
    return bool(named) and _plain(function, whole, 1).kind not in ("operation", "comprehension")


def _counted(number: Value) -> Value | None:
    if number.kind != "call" or number.method not in ("sum", "mean", "count_nonzero"):
        return None
    plain = number.receiver is None or number.name.startswith(("torch.", "numpy."))
    return next(iter(number.arguments), None) if plain else number.receiver


def _is_rest(function: Function, positives: Value, negatives: Value) -> bool:
    """Whether the other number is that of all the other labels."""
    counted = _counted(negatives)
    if counted is not None and counted.kind == "operation" and len(counted.arguments) == 2:
        first, second = counted.arguments
        return second.constant == 0 if counted.name == "==" else counted.name == "-" and first.constant == 1
    if negatives.kind != "operation" or negatives.name != "-" or len(negatives.arguments) != 2:
        return False
    whole, taken = negatives.arguments
    made = _plain(function, whole, 2)
    all_of = made.constant == 1 or any(p.method in WHOLE or p.name in SIZES or p.method in SIZES for p in made.within())
    return all_of and str(_plain(function, taken, DEEPEST)) == str(positives)
