"""ML423."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import used
from modellint.source import tensors
from modellint.source.code import Function, Value

PLACES = {"CosineEmbeddingLoss": 2, "MarginRankingLoss": 2, "HingeEmbeddingLoss": 1}  # of the target
ZEROS = frozenset({"zeros", "zeros_like", "new_zeros"})
FILLED = frozenset({"full", "full_like", "new_full"})
LITERALS = frozenset({"tensor", "as_tensor", "FloatTensor", "LongTensor"})
EQUAL = frozenset({"==", "!=", "eq", "ne"})


class TargetNotMinusOne(SourceRule):
    """A loss whose targets are 1 and -1 is given 0 where -1 is meant.

    Why: `CosineEmbeddingLoss`, `MarginRankingLoss` and `HingeEmbeddingLoss` take 1 for a pair that belongs together (or is
        in order) and -1 for one that does not. A target of 0 is neither: the loss of that pair is zero or constant, so
        that nothing pushes unlike pairs apart, without an error.
    Fix: `-torch.ones(n)` for unlike pairs; `2 * same.float() - 1` for a comparison.
    Ignore: pairs that are left out on purpose.
    Reported: https://github.com/pytorch/pytorch/issues/23782, https://github.com/datawhalechina/thorough-pytorch/issues/39
    """

    code, severity, certain, topic = "ML423", Severity.ERROR, True, "loss"
    words = (
        "CosineEmbeddingLoss", used("cosine_embedding_loss"), "MarginRankingLoss", used("margin_ranking_loss"),
        "HingeEmbeddingLoss", used("hinge_embedding_loss"),
    )  # fmt: skip
    bad = (
        """
        criterion = nn.CosineEmbeddingLoss(margin=0.2)
        for a, b, other in loader:
            loss = criterion(net(a), net(b), torch.ones(len(a))) + criterion(net(a), net(other), torch.zeros(len(a)))
        """,
        """
        for a, b, label_a, label_b in loader:
            same = (label_a == label_b).float()
            loss = F.cosine_embedding_loss(net(a), net(b), same)
        """,
        """
        class Pairs:
            def __init__(self):
                self.loss = nn.HingeEmbeddingLoss()

            def step(self, distance, first, second):
                return self.loss(distance, target=torch.eq(first, second).long())
        """,
        """
        ranking = nn.MarginRankingLoss(margin=1.0)
        loss = ranking(scorer(better), scorer(worse), torch.tensor([1, 0, 1]))
        """,
    )
    good = (
        """
        criterion = nn.CosineEmbeddingLoss(margin=0.2)
        for a, b, other in loader:
            loss = criterion(net(a), net(b), torch.ones(len(a))) + criterion(net(a), net(other), -torch.ones(len(a)))
        """,
        """
        for a, b, label_a, label_b in loader:
            same = 2 * (label_a == label_b).float() - 1
            loss = F.cosine_embedding_loss(net(a), net(b), same)
        """,
        """
        target = torch.zeros(64)
        target[same] = 1
        target[~same] = -1
        filled = torch.zeros(64).fill_(-1)
        below = torch.zeros(64)
        below -= 1
        loss = F.cosine_embedding_loss(net(a), net(b), target) + F.cosine_embedding_loss(net(a), net(b), filled)
        loss = loss + F.margin_ranking_loss(net(a), net(b), below)
        """,
        """
        same = torch.where(label_a == label_b, 1, -1)
        loss = F.cosine_embedding_loss(net(a), net(b), same) + F.binary_cross_entropy(score, torch.zeros(64))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        losses = {id(loss.call): loss for loss in script.losses if loss.kind in PLACES and loss.certain}
        for function in script.functions if losses else ():
            for at, event in enumerate(function.events):
                loss = losses.get(id(event.value)) if event.kind == "call" else None
                target = loss.call.argument(PLACES[loss.kind], "target") if loss is not None else None
                written = _zero(function, target, at) if target is not None else None
                if loss is not None and written is not None:
                    yield self.at(loss, f"takes targets of 1 and -1, and is given those of `{written}`")


def _zero(function: Function, target: Value, at: int) -> Value | None:
    """What gives a target of which some values, or all, are 0, where nothing changes them later."""
    name = tensors.bare(target).name
    if tensors.bare(target).kind == "name" and _is_changed(function, name):
        return None
    made = tensors.followed(function, target, at)
    if made.kind == "operation":
        return made if made.name in EQUAL else None
    if made.kind != "call":
        return None
    values = [part.constant for argument in made.arguments[:1] for part in argument.within() if part.kind == "constant"]
    fill = made.argument(2 if made.method == "new_full" else 1, "fill_value")
    zeros = made.method in ZEROS or (made.method in LITERALS and 0 in values and -1 not in values)
    filled = made.method in FILLED and fill is not None and fill.kind == "constant" and fill.constant == 0
    return made if zeros or filled or made.method in EQUAL else None


def _is_changed(function: Function, name: str) -> bool:
    """Whether items of a tensor are set, or all of it is changed in place."""
    events = (event for event in function.events if event.name.partition("[")[0] == name or event.kind == "call")
    return any(
        "[" in event.name or event.kind == "augment" or (event.value is not None and _is_in_place(event.value, name))
        for event in events
    )


def _is_in_place(value: Value, name: str) -> bool:
    return value.kind == "call" and value.method.endswith("_") and value.name.startswith(f"{name}.")
