"""ML216."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Graph, GraphRule, Passed, Severity
from modellint.graph.node import Node, Role

PAIRED = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
SQUARES = frozenset({"pow", "square", "abs"})


class LossShapeBroadcast(GraphRule):
    """Prediction and target have different shapes, and the loss compares each with all.

    Why: [N, 1] against [N] is broadcast to [N, N]: every prediction is pulled towards every target, so the model learns
        their mean. The loss falls, and nothing else looks wrong.
    Fix: give both the same shape: `prediction.squeeze(-1)`, or `target.unsqueeze(-1)`.
    Ignore: when every pair is to be compared; say so with an explicit `unsqueeze` of both, which is not reported.
    Reported: https://github.com/pytorch/pytorch/issues/16045
    """

    code, severity, certain, topic = "ML216", Severity.ERROR, True, "structure"
    explains = ("loss-not-falling",)
    remedy = "reshape-target"
    bad = (
        Graph.of("input y shape=8", "input x shape=8x4", "linear head shape=8x1", "loss mse_loss <- head, y"),
        Graph.of(
            "input y shape=8",
            "input x shape=8x4",
            "linear head shape=8x1",
            "add sub shape=8x8 <- head, y",
            "activation pow",
            "reduce mean",
        ),
    )
    good = (
        Graph.of("input y shape=8x1", "input x shape=8x4", "linear head shape=8x1", "loss mse_loss <- head, y"),
        Graph.of("input y shape=1", "input x shape=8x4", "linear head shape=8x1", "loss mse_loss <- head, y"),  # LSGAN
        Graph.of("input y shape=4", "input x shape=8x4", "linear head shape=8x4", "loss mse_loss <- head, y"),
        Graph.of("input y shape=8x1x5", "linear head shape=8x5x1", "loss smooth_l1_loss <- head, y"),  # quantiles
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        compared = [(node, pair) for node in graph if (pair := _pair(graph, node))]
        outer = [(node, pair) for node, pair in compared if _spreads(*pair)]
        for node, (output, target) in outer:
            shapes = [_shown(each.shape) for each in (output, target)]
            pairs = math.prod(_together(output, target)) / max(math.prod(output.shape), math.prod(target.shape))
            evidence = Evidence("comparisons for each prediction", int(pairs), 1, unit="count")
            yield self.at(
                node, f"`{node.operation}` of {shapes[0]} and {shapes[1]} compares all pairs", evidence=[evidence]
            )
        if compared and not outer:
            yield self.passed("prediction and target have matching shapes")


def _pair(graph: Graph, node: Node) -> tuple[Node, Node] | None:
    """What a loss of distances compares; written out, a difference to data that is then squared."""
    inputs = graph.inputs(node)
    squared = node.operation == "sub" and any(user.operation in SQUARES for user in graph.users(node))
    if len(inputs) < 2 or not (node.operation in PAIRED or squared):
        return None
    if squared and not any(each.role is Role.INPUT for each in inputs):
        return None
    return inputs[0], inputs[1]


def _spreads(output: Node, target: Node) -> bool:
    """Whether the result is larger than either, although nobody gave both the same number of axes."""
    both = _together(output, target)
    larger = math.prod(both) > max(math.prod(output.shape), math.prod(target.shape))
    return bool(output.shape and target.shape) and len(output.shape) != len(target.shape) and larger


def _together(one: Node, other: Node) -> tuple[int, ...]:
    """The shape to which both are broadcast."""
    length = max(len(one.shape), len(other.shape))
    shapes = [(1,) * (length - len(shape)) + shape for shape in (one.shape, other.shape)]
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
