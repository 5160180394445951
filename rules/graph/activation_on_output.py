"""ML208."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Graph, GraphRule, Passed, Severity
from modellint.graph.distance import is_distance
from modellint.graph.node import Node, Role
from modellint.graph.stream import drops, keeps_order, upstream
from modellint.graph.words import trail

SCORES = frozenset({"cross_entropy", "linear_cross_entropy", "log_softmax", "binary_cross_entropy_with_logits"})
RANGES = {
    "relu": (0.0, math.inf),
    "clamp_min": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hardtanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}


class ActivationOnOutput(GraphRule):
    """An activation or a dropout cuts off values that the loss expects of the model's output.

    Why: scores of classes take all real numbers: behind a ReLU a class can never be said to be unlikely, and where all
        scores are negative no gradient is left; behind a sigmoid or tanh no class can be much likelier than another.
        Targets outside of what the last activation can give are never reached. A dropout behind the last layer says of a class
        drawn by lot that it is neither likely nor unlikely, and no layer comes after it that could make up for it.
    Fix: give the loss the output of the last layer; scale the targets, or the output, to the same range; drop features, not scores.
    Ignore: hardly ever. An activation that is pooled or scaled before the loss is not meant.
    Thresholds: `margin` = how far a target must lie outside the range of a bounded activation, in units of its width;
        of one that is bounded on one side, in units of the spread of the targets.
    Reported: https://github.com/pytorch/tutorials/pull/1644
    """

    code, severity, certain, topic = "ML208", Severity.WARNING, True, "structure"
    twins = ("sigmoid-loss-mismatch",)
    margin = 0.05
    bad = (
        Graph.of("input x", "linear head", "activation relu", "loss cross_entropy"),
        Graph.of("input x", "linear head", "activation tanh", "log_softmax log_softmax", "loss nll_loss"),
        Graph.of("input x", "linear head", "activation sigmoid", "loss binary_cross_entropy_with_logits"),
        Graph.of("input x", "linear head", "activation relu", "log_softmax log_softmax", "index gather", "reduce mean"),
        Graph.of("input x", "linear head", "dropout dropout p=0.5", "loss cross_entropy"),
        Graph.of("input y low=-2 high=3", "input x", "linear head", "activation relu", "loss mse_loss <- relu, y"),
        Graph.of(
            "input y low=-2 high=3",
            "input x",
            "linear head",
            "activation sigmoid",
            "add sub <- sigmoid, y",
            "activation pow",
            "reduce mean",
        ),
    )
    good = (
        Graph.of(
            "input x", "conv head", "activation relu", "pool adaptive_avg_pool2d", "loss cross_entropy"
        ),  # SqueezeNet
        Graph.of("input x", "linear head", "activation tanh", "mul mul other=30", "loss cross_entropy"),  # soft capping
        Graph.of("input y low=0 high=9", "input x", "linear head", "activation relu", "loss mse_loss <- relu, y"),
        Graph.of("input y low=-1 high=1", "input x", "conv head", "activation tanh", "loss l1_loss <- tanh, y"),
        Graph.of("input x", "linear body", "activation relu", "linear head", "loss cross_entropy"),
        Graph.of("input x", "linear head", "activation leaky_relu", "loss cross_entropy"),
        Graph.of("input x", "linear body", "dropout dropout p=0.5", "linear head", "loss cross_entropy"),
        Graph.of("input x", "linear head", "dropout dropout p=0.0", "loss cross_entropy"),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        found = [finding for node in graph if (finding := self._of_scores(graph, node) or self._of_values(graph, node))]
        yield from found
        if not found and any(node.operation in SCORES or is_distance(graph, node) for node in graph):
            yield self.passed("no activation cuts off what the loss expects of the output")

    def _of_scores(self, graph: Graph, loss: Node) -> Diagnostic | None:
        if not _is_over_classes(graph, loss):
            return None
        if dropped := _dropped(graph, loss):
            message = f"`{dropped[0].operation}` sets scores of classes to zero ({trail((loss, *dropped))})"
            return self.at(dropped[0], message)
        way = _last_activation(graph, loss)
        if not way:
            return None
        low, high = RANGES[_kind(way[-1])]
        limits = f"in {low:g}..{high:g}" if math.isfinite(high) else "never negative"
        return self.at(way[-1], f"scores behind `{way[-1].operation}` are {limits} ({trail((loss, *way))})")

    def _of_values(self, graph: Graph, loss: Node) -> Diagnostic | None:
        if not is_distance(graph, loss):
            return None
        target = next((node for node in graph.inputs(loss) if node.low is not None and node.high is not None), None)
        way = _last_activation(graph, loss, target)
        if target is None or target.low is None or target.high is None or not way:
            return None
        low, high = RANGES[_kind(way[-1])]
        slack = self.margin * (high - low if math.isfinite(high) else target.high - target.low)
        beyond = target.low if target.low < low - slack else target.high if target.high > high + slack else None
        if beyond is None:
            return None
        bound = low if beyond == target.low else high
        evidence = Evidence("target beyond what the last activation can give", beyond, bound)
        message = f"no target beyond {bound:g} can be reached behind `{way[-1].operation}` ({trail((loss, *way))})"
        return self.at(way[-1], message, measured=True, evidence=[evidence])


def _is_over_classes(graph: Graph, node: Node) -> bool:
    """A loss over classes; written out, what takes the logarithm of the softmax and picks that of the label."""
    if node.operation in SCORES and node.role is Role.LOSS:
        return True
    if node.operation == "log_softmax":
        return all(_picks(graph, user) or user.operation.startswith("nll_loss") for user in graph.users(node))
    read = graph.inputs(node) if node.operation == "sub" else ()
    normaliser = next((each for each in read if each.operation == "logsumexp"), None)
    return normaliser is not None and any(_picks(graph, each) and each.inputs[:1] == normaliser.inputs for each in read)


def _picks(graph: Graph, node: Node) -> bool:
    """What is indexed by labels, or weighted with them."""
    return node.role is Role.INDEX or (
        node.role is Role.MUL and any(each.role is Role.INPUT for each in graph.inputs(node))
    )


def _last_activation(graph: Graph, loss: Node, target: Node | None = None) -> tuple[Node, ...]:
    """The way back from the loss through views to the activation that made the output; empty if there is none."""
    way = _way_to_output(graph, loss, target)
    return way if way and _kind(way[-1]) in RANGES else ()


def _dropped(graph: Graph, loss: Node) -> tuple[Node, ...]:
    """From a dropout between the last layer and the loss back to this layer."""
    way = _way_to_output(graph, loss)
    index = next((n for n, node in enumerate(way) if drops(node)), None)
    if index is None or way[index].foreign or way[-1].role not in (Role.LINEAR, Role.CONV):
        return ()
    return way[index:]


def _way_to_output(graph: Graph, loss: Node, target: Node | None = None) -> tuple[Node, ...]:
    """From what the loss reads back through views to what is none."""
    read = [source for node in graph.inputs(loss) for source in _behind_normaliser(graph, node)]
    output = next((node for node in read if node.gradient and node is not target), None)
    if output is None:
        return ()
    return (output, *(upstream(graph, output, _is_view) if _is_view(output) else ()))


def _behind_normaliser(graph: Graph, node: Node) -> tuple[Node, ...]:
    return graph.inputs(node) if node.operation == "logsumexp" else (node,)


def _is_view(node: Node) -> bool:
    return keeps_order(node) or node.role in (Role.RESHAPE, Role.INDEX, Role.DROPOUT)


def _kind(node: Node) -> str:
    """`clamp(min=0)` is a ReLU; a clamp of any other kind has no name here."""
    settings = node.settings
    if node.operation == "clamp_min":
        return node.operation if settings.get("min") == 0 else ""
    if node.operation in ("clamp", "clip"):
        return "relu" if settings.get("min") == 0 and "max" not in settings else ""
    return node.operation if node.role is Role.ACTIVATION else ""
