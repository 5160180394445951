"""ML201."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from modellint import Diagnostic, Evidence, Graph, Passed, Run, Severity
from modellint.core.rule import GraphRule
from modellint.graph.node import Node, Role
from modellint.graph.walk import readouts, walk_back


class ReadoutWithoutNorm(GraphRule):
    """Nothing bounds the features that enter the readout.

    Why: x.
    Fix: put a LayerNorm (or RMSNorm, BatchNorm) before the readout.
    """

    code, severity = "ML201", Severity.WARNING
    explains = ("exploding-gradients", "unscaled-features", "bad-initial-loss", "collapsed-predictions")
    remedy = "normalize-readout"
    bad = Graph.of("input x", "linear body", "activation relu", "linear readout", "loss cross_entropy")
    good = (
        Graph.of("input x", "linear body", "activation relu", "norm norm", "linear readout", "loss cross_entropy"),
        Graph.of("input x", "linear readout", "loss cross_entropy"),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        for readout in readouts(graph):
            between = list(walk_back(graph, readout, _passes))
            if any(node.role in (Role.LINEAR, Role.CONV) for node in between):
                name = readout.location.module or readout.name
                yield self.at(readout, f"no norm between the readout `{name}` and the layer that feeds it")
            else:
                yield Passed("the features that enter the readout are normalised or bounded")


_PASSED = frozenset(Role) - {
    Role.LINEAR,
    Role.CONV,
    Role.RECURRENT,
    Role.EMBEDDING,
    Role.INPUT,
    Role.CONSTANT,
    Role.NORM,
    Role.OTHER,
}


def _passes(node: Node) -> bool:
    return node.role in _PASSED and not node.bounded
