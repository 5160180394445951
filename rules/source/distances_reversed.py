"""ML486."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup, tensors
from modellint.source.code import Function, Value
from modellint.source.sums import negated

POSITIVE = pattern(r"(?:.*_)?(?:p|ap|pos|positives?)(?:_.*)?", re.IGNORECASE)
NEGATIVE = pattern(r"(?:.*_)?(?:n|an|neg|negatives?)(?:_.*)?", re.IGNORECASE)
MARGIN = pattern(r"(?:\w+_)?(?:margin|alpha|m)(?:_\w+)?", re.IGNORECASE)
ALIKE = pattern(r"sim|cos|dot|score|logit|energy|affin|rank|prob", re.IGNORECASE)
DISTANCES = frozenset({"cdist", "pairwise_distance", "dist"})
HINGES = frozenset({"relu", "clamp", "clamp_min", "clip"})
KEEPS = frozenset({"sqrt", "pow", "square", "mean", "sum", "view", "clamp"})
TRIPLETS = frozenset({"TripletMarginLoss", "triplet_margin_loss", "TripletMarginWithDistanceLoss"})


class DistancesReversed(SourceRule):
    """What belongs together is pushed apart: distances are taken for scores, or positives for negatives.

    Why: a softmax makes the largest entry the likeliest. Of distances that is the class farthest away; scores are distances with
        a minus. And the hinge of a triplet lowers what comes first: the distance to the positive, less that to the negative.
    Fix: `F.cross_entropy(-torch.cdist(queries, prototypes), labels)`; `F.relu(d_positive - d_negative + margin)`.
    Ignore: when a name hides that they are similarities, of which the largest is the best.
    Reported: https://github.com/dichotomies/proxy-nca/issues/15
    """

    code, severity, certain, topic = "ML486", Severity.WARNING, False, "loss"
    words = (
        (
            "cdist(",
            pattern(rb"log_softmax|cross_entropy|CrossEntropyLoss"),
            pattern(rb"prototyp|centroid|centers|proxies"),
        ),
        (
            "margin",
            pattern(rb"(?:relu|clamp)\([^\n]*margin"),
            pattern(rb"\bd(?:ist(?:ance)?)?_?(?:an|n|neg\w*)\b|\bneg\w*_d\w*"),
        ),
        ("riplet", "loader", "backward()"),
    )
    bad = (
        """
        def episode(queries, prototypes, labels):
            distances = torch.cdist(queries, prototypes) ** 2
            return F.nll_loss(F.log_softmax(distances, dim=1), labels)
        """,
        """
        for images, labels in loader:
            logits = torch.cdist(net(images), centers)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def triplet(anchor, positive, negative, margin=0.2):
            d_pos = (anchor - positive).pow(2).sum(1)
            d_neg = (anchor - negative).pow(2).sum(1)
            return F.relu(d_neg - d_pos + margin).mean()
        """,
        """
        def triplet(anchor, positive, negative, margin=0.2):
            d_pos = F.pairwise_distance(anchor, positive)
            d_neg = F.pairwise_distance(anchor, negative)
            return torch.clamp(d_pos - d_neg - margin, min=0).mean()
        """,
        """
        def triplet(anchor, positive, negative, margin=0.2):
            d_pos = F.pairwise_distance(anchor, positive)
            d_neg = F.pairwise_distance(anchor, negative)
            return F.relu(d_pos - d_neg + margin).mean()

        for anchor, positive, negative in loader:
            loss = triplet(net(anchor), net(negative), net(positive))
        """,
    )
    good = (
        """
        def episode(queries, prototypes, labels):
            distances = torch.cdist(queries, prototypes) ** 2
            return F.nll_loss(F.log_softmax(-distances, dim=1), labels)
        """,
        """
        def soft_positives(distances, mask):
            weights = F.softmax(torch.cdist(distances, distances) * mask, dim=1)  # the farthest count most
            return F.cross_entropy(5 - torch.cdist(distances, distances) * weights, mask.argmax(1))
        """,
        """
        def hinge(anchor, positive, negative, margin=0.2):
            pos, neg = F.cosine_similarity(anchor, positive), F.cosine_similarity(anchor, negative)
            return F.relu(neg - pos + margin).mean()
        """,
        """
        def rank(pos_score, neg_score, margin=1.0):
            return torch.clamp(neg_score - pos_score + margin, min=0).mean()
        """,
        """
        def triplet(anchor, positive, negative, margin=0.2):
            d_pos = (anchor - positive).pow(2).sum(1)
            d_neg = (anchor - negative).pow(2).sum(1)
            return F.relu(d_pos - d_neg + margin).mean()

        for anchor, p, n in loader:
            loss = triplet(net(anchor), net(p), net(n))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in (loss for loss in script.losses if loss.kind == "CrossEntropyLoss"):
            function, given = lookup.function(script, loss.location), loss.call.argument(0, "input")
            if function is not None and given is not None and _is_distance(function, given):
                yield self.at(loss, "takes distances for scores: the farthest is the likeliest")
        for function in script.functions:
            for call in function.calls:
                given = tensors.operand(call)
                if call.method == "log_softmax" and given is not None and _is_distance(function, given):
                    yield self.at(call, "takes distances for scores: the farthest is the likeliest")
                elif call.method in HINGES and (message := _hinge(function, call)):
                    yield self.at(call, message)
        yield from self._exchanged(script)

    def _exchanged(self, script: Script) -> Iterator[Diagnostic]:
        """Triplets that are given in another order than the loss takes them."""
        plain = {
            f.name: [p.name for p in f.parameters] for f in script.functions if f.kind == "function" and not f.owner
        }
        own = {name: given for name, given in plain.items() if {"positive", "negative"} <= set(map(_sign, given))}
        made = {
            e.name
            for f in script.functions
            for e in f.events
            if e.kind == "assign" and e.value is not None and e.value.kind == "call" and e.value.method in TRIPLETS
        }
        for function in script.functions:
            for call in (call for call in function.calls if len(call.arguments) >= 3 and not call.unpacks):
                library = call.method == "triplet_margin_loss" or call.name in made
                asked = ["anchor", "positive", "negative"] if library else own.get(call.name, [])
                pairs = {
                    (_sign(name), _told(function, given)) for name, given in zip(asked, call.arguments, strict=False)
                }
                if {("positive", "negative"), ("negative", "positive")} <= pairs:
                    yield self.at(call, "gives the negative for the positive, and the positive for the negative")


def _sign(name: str) -> str:
    """ "positive", "negative", or "" where a name tells neither or both."""
    last = name.rpartition(".")[2]
    positive, negative = POSITIVE.fullmatch(last) is not None, NEGATIVE.fullmatch(last) is not None
    return "" if positive == negative else "positive" if positive else "negative"


def _told(function: Function, value: Value) -> str:
    """Of a name; of what a model makes of one, that of the name."""
    value = tensors.bare(value)
    if value.kind == "call" and len(value.arguments) == 1 and not value.keywords:
        value = tensors.bare(value.arguments[0])
    return _sign(value.name) if value.kind == "name" else ""


def _is_distance(function: Function, value: Value, depth: int = 4) -> bool:
    """Whether a value is a distance, perhaps squared or scaled, with no minus and nothing added."""
    value = tensors.followed(function, value)
    if not depth or negated(value) is not None:
        return False
    if value.kind == "operation" and value.name in ("**", "/") and value.arguments:
        return _is_distance(function, value.arguments[0], depth - 1)
    if value.kind != "call":
        return False
    if value.method in DISTANCES and (value.name.startswith("torch.") or value.method == "cdist"):
        return True
    inner = tensors.operand(value) if value.method in KEEPS else None
    return inner is not None and _is_distance(function, inner, depth - 1)


def _hinge(function: Function, call: Value) -> str:
    """What is wrong with `relu(d_positive - d_negative + margin)`."""
    inside = tensors.operand(call)
    inside = tensors.followed(function, inside) if inside is not None else None
    if inside is None or inside.kind != "operation" or inside.name not in ("+", "-") or len(inside.arguments) != 2:
        return ""
    difference, margin = inside.arguments
    if inside.name == "+" and difference.name != "-":
        difference, margin = margin, difference  # `margin + d_pos - d_neg` is read from the left
    named = margin.kind == "name" and MARGIN.fullmatch(margin.method) is not None
    if difference.kind != "operation" or difference.name != "-" or not (named or margin.number):
        return ""
    first, second = difference.arguments
    order = _sign(_name(first)), _sign(_name(second))
    if not all(_is_far(function, side) for side in (first, second)):
        return ""
    if order == ("negative", "positive"):
        return f"lowers `{first}` and raises `{second}`: the positive is pushed away, the negative drawn near"
    if order == ("positive", "negative") and inside.name == "-" and named:
        return f"asks for `{second}` to be no nearer than `{first}` by less than the margin: the margin enters with a minus"
    return ""


def _name(value: Value) -> str:
    return value.name if value.kind == "name" else ""


def _is_far(function: Function, value: Value) -> bool:
    """Whether a name stands for a distance that the function computes, or is called one."""
    if value.kind != "name" or ALIKE.search(value.name):
        return False
    made = tensors.bound(function, value.name)
    if made is None:
        return re.search(r"dist|^d_", value.name) is not None
    parts = list(made.within())
    differs = any(p.kind == "operation" and p.name == "-" for p in parts)
    powers = any(
        (p.kind == "operation" and p.name == "**") or p.method in ("pow", "norm", "square", "abs") for p in parts
    )
    return any(p.method in DISTANCES for p in parts if p.kind == "call") or (differs and powers)
