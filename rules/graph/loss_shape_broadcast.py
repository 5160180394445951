"""ML216."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Graph, GraphRule, Passed, Severity
from modellint.graph.distance import is_distance
from modellint.graph.node import Node, Role

_SHAPED = (Role.RESHAPE, Role.INDEX)
PAIRED = frozenset({"poisson_nll_loss"})  # no distance, but a target for each prediction


class LossShapeBroadcast(GraphRule):
    """Prediction and target have different shapes, and the loss compares each with all.

    Why: [N, 1] against [N] is broadcast to [N, N]: every prediction is pulled towards every target, so the model learns
        their mean. The loss falls, and nothing else looks wrong.
    Fix: give both the same shape: `prediction.squeeze(-1)`, or `target.unsqueeze(-1)`.
    Ignore: when every pair is to be compared; say so with an explicit `unsqueeze` of both, which is not reported. A product
        of a column of predictions and a row of data, as in a loss that is written out, is only suspected.
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
        Graph.of(
            "input returns shape=20",
            "input batch shape=8",
            "index getitem constant shape=8 <- returns, batch",  # a part of a rollout
            "input x shape=8x4",
            "linear value shape=8x1",
            "add sub shape=8x8 <- value, getitem",
            "activation pow",
            "reduce mean",
        ),
        Graph.of(
            "input y shape=8",  # hinge: 1 - y * score
            "input x shape=8x4",
            "linear head shape=8x1",
            "mul mul shape=8x8 <- head, y",
            "activation relu",
            "reduce mean",
        ),
        Graph.of(  # within the model
            "input y shape=8",
            "input x shape=8x4",
            "reduce sum shape=8 <- x",
            "embedding bias shape=8x1 <- x",
            "add wide shape=8x8 <- sum, bias",
            "loss mse_loss <- wide, y",
        ),
    )
    good = (
        Graph.of(  # a score for each of as many items as there are samples, held against the same row
            "input y shape=8", "input x shape=8x4", "linear head shape=8x8", "loss mse_loss <- head, y"
        ),
        Graph.of("input y shape=8x1", "input x shape=8x4", "linear head shape=8x1", "loss mse_loss <- head, y"),
        Graph.of("input y shape=1", "input x shape=8x4", "linear head shape=8x1", "loss mse_loss <- head, y"),  # LSGAN
        Graph.of("input y shape=4", "input x shape=8x4", "linear head shape=8x4", "loss mse_loss <- head, y"),
        Graph.of("input y shape=8", "linear w shape=8x1", "reshape unsqueeze shape=8x1", "mul outer <- unsqueeze, y"),
        Graph.of(  # each score against those of all others, which are held fixed
            "input x shape=8x4",
            "linear scores shape=8",
            "detach detach constant shape=8",
            "index getitem shape=8x1 <- scores",
            "add sub shape=8x8 <- getitem, detach",
            "activation pow",
        ),
        Graph.of("input y shape=8x1x5", "linear head shape=8x5x1", "loss smooth_l1_loss <- head, y"),  # quantiles
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        compared = [(node, pair) for node in graph if (pair := _pair(graph, node))]
        outer = [(node, pair) for node, pair in compared if _spreads(*pair)]
        outer += [found for _, pair in compared for found in _widened(graph, *pair)]
        yield from (self._finding(node, *pair) for node, pair in outer)
        for node, pair in ((node, _factors(graph, node)) for node in graph.of_role(Role.MUL)):
            if pair is not None and not outer and _spreads(*pair):
                yield self._finding(node, *pair, certain=False)
        if compared and not outer:
            yield self.passed("prediction and target have matching shapes")

    def _finding(self, node: Node, output: Node, target: Node, certain: bool = True) -> Diagnostic:
        shapes = [_shown(each.shape) for each in (output, target)]
        pairs = math.prod(_together(output, target)) / max(math.prod(output.shape), math.prod(target.shape))
        evidence = Evidence("comparisons for each prediction", int(pairs), 1, unit="count")
        message = f"`{node.operation}` of {shapes[0]} and {shapes[1]} compares all pairs"
        return self.at(node, message, evidence=[evidence], certain=certain)


def _pair(graph: Graph, node: Node) -> tuple[Node, Node] | None:
    """What a loss of distances compares; written out, a difference to data that is then made positive."""
    inputs = graph.inputs(node)
    if len(inputs) < 2 or not (is_distance(graph, node) or node.operation in PAIRED):
        return None
    if (
        node.role is not Role.LOSS
        and not any(each.role is Role.INPUT for each in inputs)
        and not _is_aimed(*inputs[:2])
    ):
        return None
    return inputs[0], inputs[1]


def _is_aimed(*sides: Node) -> bool:
    """Whether one is what comes out of a layer, and the other was computed from data and cannot learn: a target."""
    made = [side for side in sides if side.gradient and side.role not in _SHAPED]
    targets = [side for side in sides if not side.gradient and side.role is not Role.CONSTANT]
    return bool(made and targets)


def _factors(graph: Graph, node: Node) -> tuple[Node, Node] | None:
    """A column of predictions and a row of as many numbers of data: labels or weights of a loss that is written out."""
    inputs = graph.inputs(node)
    data = next((each for each in inputs if each.role is Role.INPUT and len(each.shape) == 1), None)
    column = next((each for each in inputs if each.gradient and each.role not in _SHAPED), None)
    if data is None or column is None or len(inputs) != 2 or column.shape != (*data.shape, 1):
        return None
    return column, data


def _spreads(output: Node, target: Node) -> bool:
    """Whether the result is larger than either, although nobody gave both the same number of axes."""
    both = _together(output, target)
    larger = math.prod(both) > max(math.prod(output.shape), math.prod(target.shape))
    return bool(output.shape and target.shape) and len(output.shape) != len(target.shape) and larger


def _widened(graph: Graph, output: Node, target: Node) -> Iterator[tuple[Node, tuple[Node, Node]]]:
    """The sum of a column and a row within the model that made a square of what is held against a row of targets."""
    square, column = target.shape * 2, (*target.shape, 1)
    node: Node | None = output if len(target.shape) == 1 and target.shape > (1,) else None
    while node is not None and node.shape == square:
        inputs = graph.inputs(node)
        if node.role is Role.ADD and {each.shape for each in inputs} == {target.shape, column}:
            yield node, (inputs[0], inputs[1])
        node = next((each for each in inputs if each.shape == square), None)


def _together(one: Node, other: Node) -> tuple[int, ...]:
    """The shape to which both are broadcast."""
    length = max(len(one.shape), len(other.shape))
    shapes = [(1,) * (length - len(shape)) + shape for shape in (one.shape, other.shape)]
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
