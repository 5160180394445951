"""ML205."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Graph, GraphRule, Passed, Severity
from modellint.graph.node import Node, Role
from modellint.graph.stream import drops, upstream
from modellint.graph.words import trail

BETWEEN = (Role.LINEAR, Role.CONV, Role.ACTIVATION, Role.RESHAPE, Role.POOL)


class DropoutBeforeBatchnorm(GraphRule):
    """Batch norm estimates its statistics from features that dropout has made noisier than they are in evaluation.

    Why: dropout raises the variance in training only. The running variance of a batch norm behind it is therefore too
        large when the model is evaluated, and the accuracy there falls for no reason that the training loss shows.
    Fix: drop out behind the last batch norm, or leave one of the two out.
    Ignore: when the rate is small and evaluation agrees with training.
    Reported: https://arxiv.org/abs/1801.05134, https://github.com/luigibonati/mlcolvar/pull/205
    """

    code, severity, certain, topic = "ML205", Severity.NOTE, True, "structure"
    bad = (
        Graph.of(
            "input x", "linear a", "dropout dropout p=0.5 training=True", "linear b", "norm batch_norm training=True"
        ),
        Graph.of("input x", "conv a", "dropout dropout2d p=0.2 training=True", "norm batch_norm training=True"),
    )
    good = (
        Graph.of(
            "input x", "conv a", "norm batch_norm training=True", "dropout dropout p=0.5 training=True", "linear b"
        ),
        Graph.of("input x", "conv a", "dropout dropout p=0.0 training=True", "norm batch_norm training=True"),
        Graph.of("input x", "conv a", "dropout dropout p=0.5 training=False", "norm batch_norm training=True"),
        Graph.of(
            "input x",
            "conv a",
            "dropout dropout p=0.5 training=True",
            "norm layer_norm",
            "norm batch_norm training=True",
        ),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        found: dict[str, tuple[Node, ...]] = {}
        for norm in graph.of_role(Role.NORM):
            way = (norm, *upstream(graph, norm, _goes_on))
            if norm.settings.get("training") is True and len(way) > 1 and drops(way[-1]):
                found.setdefault(way[-1].name, way)
        if found:
            first, *others = found.values()
            more = f", and {len(others)} more like it" if others else ""
            yield self.at(first[-1], f"dropout feeds a batch norm ({trail(first)}){more}")


def _goes_on(node: Node) -> bool:
    return node.role in BETWEEN or (node.role is Role.MUL and len(node.inputs) == 1)  # times a number
