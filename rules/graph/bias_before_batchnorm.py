"""ML204."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Graph, GraphRule, Passed, Severity
from modellint.graph.node import Node, Role
from modellint.graph.stream import end, keeps_order
from modellint.graph.words import name


class BiasBeforeBatchnorm(GraphRule):
    """A layer adds a bias that the batch norm behind it subtracts again.

    Why: batch norm takes the mean of each channel away and has a bias of its own: the layer's bias never changes the
        output, its gradient is rounding noise, and weight decay or Adam still move it.
    Fix: `bias=False` in the layer.
    Ignore: when weights of a published checkpoint have to fit. It costs a little memory and no accuracy.
    Reported: https://github.com/milesial/Pytorch-UNet/pull/325
    """

    code, severity, certain, topic = "ML204", Severity.NOTE, True, "structure"
    bad = (
        Graph.of("input x", "conv conv bias", "norm batch_norm training=True", "activation relu", "linear head"),
        Graph.of("input x", "linear fc bias", "reshape view", "norm batch_norm training=True", "linear head"),
        Graph.of(
            "input x", "linear fc", "add add weight=b bias shape=8x4", "norm batch_norm training=True", "linear head"
        ),
    )
    good = (
        Graph.of("input x", "conv conv", "norm batch_norm training=True", "activation relu", "linear head"),
        Graph.of("input x", "conv conv bias", "norm layer_norm", "linear head"),
        Graph.of("input x", "conv conv bias", "activation relu", "norm batch_norm training=True", "linear head"),
        Graph.of("input x", "conv conv bias", "norm batch_norm training=False", "linear head"),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        norms = [node for node in graph.of_role(Role.NORM) if node.settings.get("training") is True]
        layers = {name(layer): layer for norm in norms if (layer := self._biased(graph, norm))}
        if layers:
            first, *others = layers.values()
            more = f", and {len(others)} more layers like it" if others else ""
            yield self.at(first, f"the bias of `{name(first)}` is removed by the batch norm behind it{more}")

    def _biased(self, graph: Graph, norm: Node) -> Node | None:
        """The layer that feeds nothing but the norm, if it adds a bias."""
        way = end(graph, norm, keeps_order)
        if not way or any(len(graph.users(node)) > 1 for node in way):
            return None
        row = len(way[-1].shape) == 2 and way[-1].role is Role.ADD and len(way[-1].inputs) == 1  # `x @ w + b`
        if not row and way[-1].role not in (Role.LINEAR, Role.CONV):
            return None
        return way[-1] if any(len(each.shape) == 1 for each in graph.parameters_of(way[-1])) else None
