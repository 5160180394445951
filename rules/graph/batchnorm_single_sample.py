"""ML215."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Graph, GraphRule, Passed, Severity
from modellint.graph.node import Node, Role
from modellint.graph.walk import walk_back
from modellint.graph.words import name

CLASSES = frozenset({"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"})


class BatchnormSingleSample(GraphRule):
    """Batch norm trains on batches of one sample.

    Why: its statistics are then those of this sample alone: what tells the samples apart is normalised away in training,
        and in evaluation, where the running statistics are used, the network computes something else.
    Fix: use larger batches (accumulating gradients does not help), or GroupNorm, LayerNorm, or a frozen batch norm.
    Ignore: when each image is meant to be normalised by itself, as in some image-to-image models; say so with InstanceNorm.
    Thresholds: `values` = 64 values of a channel in one sample: with more, and for losses that are not over classes,
        the rule only suspects.
    Reported: https://github.com/ly015/intrinsic_flow/issues/1
    """

    code, severity, topic = "ML215", Severity.WARNING, "structure"
    values = 64
    bad = (
        Graph.of(
            "input x shape=1x3x8x8",
            "conv conv shape=1x16x4x4",
            "norm batch_norm training=True shape=1x16x4x4",
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=1x3x64x64",
            "conv conv shape=1x16x64x64",
            "norm batch_norm training=True shape=1x16x64x64",
            "conv head",
            "loss l1_loss",
        ),
    )
    good = (
        Graph.of(
            "input x shape=4x3x8x8",
            "conv conv shape=4x16x4x4",
            "norm batch_norm training=True shape=4x16x4x4",
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=1x3x8x8",
            "conv conv shape=1x16x4x4",
            "norm batch_norm training=False shape=1x16x4x4",
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=4x3x8",  # samples folded into the channels, as instance norm is written
            "conv conv shape=4x16x8",
            "reshape view shape=1x64x8",
            "norm batch_norm training=True shape=1x64x8",
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=1x3x8x8",
            "conv conv shape=1x16x4x4",
            "norm group_norm shape=1x16x4x4",
            "linear head",
            "loss cross_entropy",
        ),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        norms = [
            node for node in graph.of_role(Role.NORM) if node.settings.get("training") is True and len(node.shape) > 1
        ]
        single = [node for node in norms if node.shape[0] == 1 and _batch(graph, node) == 1]
        if single:
            yield self._finding(graph, min(single, key=_per_channel), len(single))
        elif norms:
            yield self.passed("batch norm sees more than one sample at a time")

    def _finding(self, graph: Graph, norm: Node, count: int) -> Diagnostic:
        over_classes = any(node.operation in CLASSES for node in graph)
        values = _per_channel(norm)
        more = f" ({count} such layers)" if count > 1 else ""
        return self.at(
            norm,
            f"`{name(norm)}` takes its statistics from one sample{more}",
            certain=over_classes and values < self.values,
            evidence=[Evidence("values of a channel", values, self.values, unit="count")],
        )


def _per_channel(norm: Node) -> int:
    return math.prod(norm.shape) // norm.shape[1]


def _batch(graph: Graph, node: Node) -> int:
    """The number of samples that enter the model on the way to `node`."""
    entering = (
        each for each in walk_back(graph, node, lambda _: True) if each.role is Role.INPUT and len(each.shape) > 1
    )
    return max((each.shape[0] for each in entering), default=0)
