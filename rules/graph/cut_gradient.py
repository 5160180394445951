"""ML210."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Graph, GraphRule, Passed, Severity
from modellint.graph.node import LAYERS, Node, Parameter, Role
from modellint.graph.walk import learned_parameters, learns, path
from modellint.graph.words import label, trail


class CutGradient(GraphRule):
    """What the optimizer holds feeds the loss, and no gradient comes back to it.

    Why: behind a `detach()` or within `no_grad()` the layers still take part in the output, so the loss may even fall,
        but they stay as they were initialised.
    Fix: take the cut out of the path from the layers to the loss; detach targets and what is logged only.
    Ignore: when the part is meant to stay as it is; take it out of the optimizer, or say `requires_grad_(False)`.
    Reported: https://github.com/bboylyg/NAD/issues/8
    """

    code, severity, topic = "ML210", Severity.WARNING, "gradients"
    explains = ("zero-gradients",)
    bad = (
        Graph.of(
            "input x",
            "linear encoder unreached optimizer=0",
            "detach detach",
            "linear head reached",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x",
            "linear encoder constant unreached optimizer=0",
            "activation relu constant",
            "linear head reached",
            "loss cross_entropy",
        ),
        Graph.of("input x", "linear encoder", "detach data", "linear head", "loss cross_entropy"),
    )
    good = (
        Graph.of("input x", "linear encoder", "linear head", "loss cross_entropy"),
        Graph.of("input x", "linear encoder constant frozen", "linear head", "loss cross_entropy"),
        Graph.of(
            "input x",
            "linear teacher <- x",
            "detach detach <- teacher",
            "linear student reached <- x",  # the teacher is in no optimizer
            "loss mse_loss <- student, detach",
        ),
        Graph.of(
            "input x",
            "linear encoder reached",
            "detach detach <- encoder",  # straight through
            "add add <- encoder, detach",
            "loss mse_loss",
        ),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        learned = learned_parameters(graph)
        watched = any(parameter.reached is not None for parameter in graph.parameters)
        cut = {
            parameter.name: parameter
            for parameter in graph.parameters
            if parameter.requires_grad
            and parameter.name not in learned
            and (parameter.reached is False if watched else parameter.reached is None)
        }
        layers = [node for node in graph if any(name in cut for name in node.parameters)]
        for place, behind in _by_cut(graph, layers).items():
            yield self._finding(
                graph, graph[place], behind, [cut[n] for node in behind for n in node.parameters if n in cut]
            )
        if watched and not layers:
            yield self.passed("nothing cuts the gradient on its way to what should train")

    def _finding(self, graph: Graph, cut: Node, behind: Sequence[Node], lost: Sequence[Parameter]) -> Diagnostic:
        nearest = behind[-1]
        way = path(graph, graph[graph.output], nearest) or (cut, nearest)
        what = f"`{cut.operation}`" if cut.role is Role.DETACH or _is_whole(cut) else "no_grad()"
        held = all(parameter.optimizer is not None and parameter.reached is False for parameter in lost)
        count = len({parameter.name for parameter in lost})
        return self.at(
            cut,
            f"{what} cuts `{label(nearest)}` off from the loss: {count} parameters never get a gradient ({trail(way)})",
            measured=held,
            evidence=[Evidence("gradients that reached them in the watched steps", 0, 1, unit="count")] if held else [],
            severity=Severity.NOTE if all(parameter.foreign for parameter in lost) else None,
        )


def _by_cut(graph: Graph, layers: Sequence[Node]) -> dict[str, list[Node]]:
    """The nodes that lose the gradient, each with the layers that it cuts off."""
    found: dict[str, list[Node]] = {}
    for layer in layers:
        found.setdefault(_cut(graph, layer).name, []).append(layer)
    return found


def _cut(graph: Graph, layer: Node) -> Node:
    """Following what reads the layer, the first detach; a layer that ran without gradients is cut by its surroundings."""
    waiting, seen = [layer], {layer.name}
    for node in waiting:
        if not learns(node):
            return _outermost(graph, node)
        for user in graph.users(node):
            if user.name not in seen:
                seen.add(user.name)
                waiting.append(user)
    return layer


def _outermost(graph: Graph, node: Node) -> Node:
    """The last of the nodes in a row that no gradient passes: where the region of `no_grad()` ends."""
    while node.role is not Role.DETACH and not _is_whole(node):
        blind = [user for user in graph.users(node) if not learns(user) and user.role not in LAYERS]
        if not blind:
            return node
        node = blind[0]
    return node


def _is_whole(node: Node) -> bool:
    """Whether it gives whole numbers or truth values, as `argmax` and comparisons do: no gradient passes those."""
    return node.dtype.startswith(("int", "uint", "bool"))
