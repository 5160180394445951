"""ML220."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Graph, GraphRule, Passed, Severity
from modellint.graph.node import Node, Role
from modellint.graph.walk import walk_back
from modellint.graph.words import trail

CLASS_LOSSES = ("cross_entropy", "nll_loss", "nll_loss_nd")
KEEPS_ORDER = frozenset({"view", "reshape", "flatten", "unflatten", "contiguous", "squeeze", "unsqueeze", "ravel"})
AXES = {f"conv{kind}{axes}d": axes + 2 for axes in (1, 2, 3) for kind in ("", "_transpose")}


class ClassAxisReshaped(GraphRule):
    """The scores of a convolution are reshaped to one row a place without moving the class axis to the end.

    Why: a convolution gives [samples, classes, height, width]. `view(-1, classes)` cuts its memory into rows of neighbouring
        pixels of one class; each is then trained as if it were the scores of one pixel. It raises no error, and the loss
        stays near that of guessing.
    Fix: hand the loss the scores as they are, with labels of [samples, height, width], or
        `permute(0, 2, 3, 1).reshape(-1, classes)`.
    Ignore: never, as long as the labels are those of the places.
    Reported: https://github.com/qubvel-org/segmentation_models.pytorch/pull/461
    """

    code, severity, certain, topic = "ML220", Severity.ERROR, True, "structure"
    explains = ("loss-not-falling", "cannot-overfit")
    bad = (
        Graph.of(
            "input x shape=2x1x6x6",
            "conv head operation=conv2d shape=2x4x6x6",
            "reshape view operation=view shape=72x4",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=8x16x30",
            "conv head operation=conv1d shape=8x5x30",
            "log_softmax scores dim=1 shape=8x5x30",
            "reshape flat operation=reshape shape=240x5",
            "loss nll_loss",
        ),
    )
    good = (
        Graph.of(
            "input x shape=2x1x6x6",
            "conv head operation=conv2d shape=2x4x6x6",
            "reshape last operation=permute shape=2x6x6x4",
            "reshape view operation=reshape shape=72x4",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=2x1x6x6",
            "conv head operation=conv2d shape=2x4x1x1",
            "reshape view operation=view shape=2x4",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=2x1x6x6",  # SqueezeNet
            "conv head operation=conv2d shape=2x4x6x6",
            "pool mean operation=adaptive_avg_pool2d shape=2x4x1x1",
            "reshape flat operation=flatten shape=2x4",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=2x6x8",
            "linear head shape=2x6x4",
            "reshape view operation=view shape=12x4",
            "loss cross_entropy",
        ),
        Graph.of("input x shape=2x1x6x6", "conv head operation=conv2d shape=2x4x6x6", "loss cross_entropy"),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        for loss in graph.of_role(Role.LOSS):
            rows = next(iter(graph.inputs(loss)), None)
            if loss.operation in CLASS_LOSSES and rows is not None and len(rows.shape) == 2:
                yield from self._judge(graph, rows)

    def _judge(self, graph: Graph, rows: Node) -> Iterator[Diagnostic]:
        behind = [rows, *walk_back(graph, rows, lambda node: _keeps_order(graph, node))]
        cut = [node for node in behind if node.role is Role.RESHAPE]
        conv = next((node for node in behind if node.role is Role.CONV), None)
        if conv is not None and cut and _keeps_order(graph, rows) and _classes_first(conv, rows.shape[1]):
            shapes = " to ".join("x".join(map(str, node.shape)) for node in (conv, rows))
            yield self.at(cut[-1], f"cuts scores across the class axis ({shapes}: {trail((rows, conv))})")


def _classes_first(conv: Node, classes: int) -> bool:
    size = AXES.get(conv.operation)
    return size == len(conv.shape) and conv.shape[1] == classes > 1 and math.prod(conv.shape[2:]) > 1


def _keeps_order(graph: Graph, node: Node) -> bool:
    """Whether the elements of what it gives lie as those of what it reads."""
    given = next(iter(graph.inputs(node)), None)
    if given is None or node.role in (Role.CONV, Role.LOSS):
        return False
    return node.operation in KEEPS_ORDER if node.role is Role.RESHAPE else node.shape == given.shape
