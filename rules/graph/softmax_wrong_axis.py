"""ML209."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Graph, GraphRule, Passed, Severity
from modellint.graph.attention import Attention, attentions
from modellint.graph.axes import contracted, moved, softmax_axis
from modellint.graph.node import Node, Role
from modellint.graph.stream import upstream
from modellint.graph.words import trail

SCORES = (Role.SOFTMAX, Role.LOG_SOFTMAX)
KEEPS = (Role.DROPOUT, Role.MASK)
CLASS_AXIS = frozenset({"nll_loss", "nll_loss_nd"})  # the second axis holds the classes
ROWS = frozenset({"kl_div", "binary_cross_entropy", "mse_loss"})  # a row is a sample


class SoftmaxWrongAxis(GraphRule):
    """A softmax normalises over another axis than the one that is used.

    Why: over the batch axis the samples of a batch compete with each other; in attention, weights that sum to one over
        the queries are no average over the values. Nothing fails, and the model learns something else.
    Fix: `dim=-1` for scores of classes in the last axis and for the keys of an attention.
    Ignore: when queries are meant to compete for the keys, as slots do; what is divided by its sum again is not reported.
    Reported: https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146
    """

    code, severity, certain, topic = "ML209", Severity.WARNING, True, "structure"
    twins = ("softmax-dimension",)
    bad = (
        Graph.of(
            "input x shape=8x4", "linear head shape=8x3", "log_softmax log_softmax dim=0 shape=8x3", "loss nll_loss"
        ),
        Graph.of(
            "input x shape=2x6x8",
            "linear q shape=2x6x8 <- x",
            "linear k shape=2x6x8 <- x",
            "mul scores operation=matmul shape=2x6x6 <- q, k",
            "mul div other=2 shape=2x6x6",
            "softmax softmax dim=1 shape=2x6x6",
            "attention mix operation=matmul mixes=0 shape=2x6x8 <- softmax, k",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=4x6x8",
            "linear h shape=4x6x8",
            "linear score shape=4x6x1 <- h",
            "softmax softmax dim=0 shape=4x6x1",
            "mul mul shape=4x6x8 <- softmax, h",
            "reduce sum dim=1",
            "linear head",
            "loss cross_entropy",
        ),
    )
    good = (
        Graph.of(
            "input x shape=8x4", "linear head shape=8x3", "log_softmax log_softmax dim=1 shape=8x3", "loss nll_loss"
        ),
        Graph.of("input x shape=8x4", "linear z shape=8x8", "log_softmax log_softmax dim=0 shape=8x8", "loss nll_loss"),
        Graph.of(
            "input x shape=2x6x8",
            "linear q shape=2x6x8 <- x",
            "linear k shape=2x6x8 <- x",
            "mul scores operation=matmul shape=2x6x6 <- q, k",
            "softmax softmax dim=-1 shape=2x6x6",
            "attention mix operation=matmul mixes=0 shape=2x6x8 <- softmax, k",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=2x6x8",  # slots: normalised once more over the keys
            "linear q shape=2x6x8 <- x",
            "linear k shape=2x6x8 <- x",
            "mul scores operation=matmul shape=2x6x6 <- q, k",
            "softmax softmax dim=1 shape=2x6x6",
            "reduce sum dim=-1",
            "mul div <- softmax, sum",
            "attention mix operation=matmul mixes=0 shape=2x6x8 <- div, k",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=6x4x8",  # time first
            "linear h shape=6x4x8",
            "linear score shape=6x4x1 <- h",
            "softmax softmax dim=0 shape=6x4x1",
            "mul mul shape=6x4x8 <- softmax, h",
            "reduce sum dim=0",
            "linear head",
            "loss cross_entropy",
        ),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        found = [*self._in_attention(graph), *self._before_loss(graph), *self._in_pooling(graph)]
        yield from {finding.location: finding for finding in found}.values()
        if not found and graph.of_role(*SCORES):
            yield self.passed("every softmax runs over the axis that is used")

    def _in_attention(self, graph: Graph) -> Iterator[Diagnostic]:
        for attention in attentions(graph):
            used, over = contracted(attention.values), _carried(graph, attention)
            if None not in (used, over) and used != over:
                yield self._finding(attention.softmax, attention.way, f"the product behind it sums over axis {used}")

    def _before_loss(self, graph: Graph) -> Iterator[Diagnostic]:
        for loss in (node for node in graph if node.operation in CLASS_AXIS | ROWS):
            way = _output(graph, loss)
            axis = softmax_axis(way[-1]) if way else None
            if axis is None or len(way[-1].shape) < 2 or way[-1].shape[0] == way[-1].shape[1]:
                continue
            first, second = -len(way[-1].shape), 1 - len(way[-1].shape)
            if axis == first or (loss.operation in CLASS_AXIS and axis != second):
                yield self._finding(
                    way[-1], (loss, *way), "each row is a sample" if axis == first else "classes are in axis 1"
                )

    def _in_pooling(self, graph: Graph) -> Iterator[Diagnostic]:
        """Weights times features, summed over another axis, where the weights are normalised over the batch."""
        for total in (node for node in graph.of_role(Role.REDUCE) if node.operation == "sum"):
            product = next((node for node in graph.inputs(total) if node.role is Role.MUL), None)
            softmax = product and next((node for node in graph.inputs(product) if node.role is Role.SOFTMAX), None)
            if product is None or softmax is None or total.dim is None or len(softmax.shape) < 3:
                continue
            size = len(product.shape)
            batch = any(node.shape[:1] == softmax.shape[:1] for node in graph.of_role(Role.INPUT))
            if softmax_axis(softmax) == -size == -len(softmax.shape) and total.dim % size != 0 and batch:
                yield self._finding(softmax, (total, product, softmax), f"the sum behind it is over axis {total.dim}")

    def _finding(self, softmax: Node, way: Sequence[Node], used: str) -> Diagnostic:
        axis = softmax_axis(softmax)
        shape = "x".join(map(str, softmax.shape))
        return self.at(softmax, f"softmax over axis {axis} of {shape}, but {used} ({trail(way)})")


def _output(graph: Graph, loss: Node) -> tuple[Node, ...]:
    """From a loss back through logarithms to the softmax that it reads; empty if there is none."""
    output = next((node for node in graph.inputs(loss) if node.gradient), None)
    if output is None:
        return ()
    way = (output, *(upstream(graph, output, _is_log) if _is_log(output) else ()))
    return way if way[-1].role in SCORES else ()


def _is_log(node: Node) -> bool:
    shifted = node.role is Role.ADD and len(node.inputs) == 1
    return shifted or (node.role is Role.ACTIVATION and node.operation in ("log", "clamp", "clamp_min"))


def _carried(graph: Graph, attention: Attention) -> int | None:
    """Where the axis of the softmax lies when the values are weighted; None where that cannot be told."""
    weights = attention.way[1 : attention.way.index(attention.softmax)]
    axis = softmax_axis(attention.softmax)
    for node in reversed(weights):
        if node.role is Role.MUL and len([each for each in graph.inputs(node) if each.gradient]) > 1:
            return None
        axis = moved(graph, node, axis)
    return axis
