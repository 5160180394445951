"""ML203."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from modellint import Diagnostic, Graph, GraphRule, Passed, Script, Severity
from modellint.core.pattern import pattern
from modellint.graph.node import Node, Role
from modellint.graph.stream import end, keeps_order
from modellint.graph.words import name, trail
from modellint.source import chained
from modellint.source.code import Value

IDLE = ("torch.nn.Identity", "torch.nn.Dropout", "torch.nn.Flatten")
HIDDEN = pattern(
    r"(n_|num_|d_)?(hidden|hid|ff|ffn|mlp|inner|intermediate)s?(_?(dim|size|channels|features|units|width))?\d?"
)


class LinearWithoutNonlinearity(GraphRule):
    """A linear layer feeds another one with nothing nonlinear between them.

    Why: two linear maps in a row are one linear map: the first layer adds parameters and nothing that a single layer
        could not compute. Mostly an activation was forgotten, or was made and never called.
    Fix: put an activation between the two, or leave one of them out.
    Ignore: when the product of two matrices is meant: deep linear networks, factors that are merged later. A narrow
        middle (a bottleneck, LoRA) is never reported, nor are weights that are also applied without the other, nor convolutions,
        which are often factored. Only noted where a part of the model ends between them (an encoder and its projection).
    Reported: https://github.com/nutonomy/nuscenes-devkit/issues/728
    """

    code, severity, certain, topic = "ML203", Severity.WARNING, True, "structure"
    words = (
        ("Sequential(", "Linear("),
        ("Module)", pattern(rb"def forward\((?s:.){,3000}?self\.\w+\([^\n]*(?:\n[^\n]*){,2}?self\.\w+\("), "Linear("),
    )
    bad = (
        """
        class Net(nn.Module):
            def __init__(self, size, hidden):
                super().__init__()
                self.fc1, self.fc2, self.fc3 = nn.Linear(size, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)
                self.drop = nn.Dropout(0.1)

            def forward(self, x):
                x = torch.relu(self.fc1(x))
                x = self.drop(self.fc2(x))
                return self.fc3(x)
        """,
        """
        def head(size, hidden_dim, classes):
            return nn.Sequential(nn.Linear(size, hidden_dim), nn.Dropout(0.1), nn.Linear(hidden_dim, classes))
        """,
        Graph.of(
            "input x shape=4x64",
            "linear fc1 shape=4x128",
            "dropout dropout p=0.1",
            "linear fc2 shape=4x10",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x shape=4x64", "linear a shape=4x64", "add add weight=bias", "linear b shape=4x64", "loss mse_loss"
        ),
    )
    good = (
        """
        class Features(nn.Module):
            def __init__(self, size, hidden):
                super().__init__()
                self.first, self.second, self.third = nn.Linear(size, hidden), nn.Linear(hidden, size), nn.Linear(size, 3)
                self.down, self.up, self.drop = nn.Linear(size, 8), nn.Linear(8, size), nn.Dropout(0.1)

            def forward(self, x):
                h = self.first(x)
                y = self.second(h)
                y = torch.relu(y)
                return h, self.third(self.up(self.drop(self.down(y))).relu())
        """,
        """
        def squeeze(size, rank, hidden):
            low = nn.Sequential(nn.Linear(size, rank), nn.Linear(rank, size), nn.Linear(size // 4, size))
            return low, nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, size))
        """,
        Graph.of(
            "input x shape=4x64", "linear a shape=4x128", "activation relu", "linear b shape=4x10", "loss mse_loss"
        ),
        Graph.of(
            "input x shape=4x64", "linear down shape=4x8", "linear up shape=4x64", "loss mse_loss"
        ),  # a bottleneck
        Graph.of(
            "input x shape=4x64",  # Zamba: a block that all layers share, and a layer of one's own
            "linear shared shape=4x64",
            "linear own1 shape=4x64",
            "activation relu",
            "linear again weight=shared shape=4x64",
            "linear own2 shape=4x64",
            "loss mse_loss",
        ),
        Graph.of(
            "input x shape=4x64", "linear a shape=4x64", "norm layer_norm", "linear b shape=4x64", "loss mse_loss"
        ),
        Graph.of(
            "input x shape=4x64", "linear a weight=w shape=4x64", "linear b weight=w shape=4x64", "loss mse_loss"
        ),  # the slope of a planar flow
        Graph.of(
            "input x shape=4x64",
            "linear a shape=4x64",
            "linear b shape=4x64 <- a",
            "activation tanh <- a",
            "mul gate <- b, tanh",
            "loss mse_loss",
        ),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        found = [way for node in graph.of_role(Role.LINEAR) if (way := self._way(graph, node))]
        yield from (self._finding(way) for way in found)
        if not found and len(graph.of_role(Role.LINEAR)) > 1:
            yield self.passed("no two linear layers follow each other without a nonlinearity")

    def suspect(self, script: Script) -> Iterator[Diagnostic]:
        """Two linear layers that follow each other, where it is written that the middle is no bottleneck."""
        for call in script.calls:
            if call.name == "torch.nn.Sequential" and not call.unpacks:
                layers = [layer for layer in call.arguments if layer.name not in IDLE]
                for first, second in pairwise(layers):
                    if first.name == second.name == "torch.nn.Linear" and not _is_narrow(first, second):
                        yield self.at(
                            second,
                            f"`Linear` comes right after the `Linear` of line {first.location.line}",
                            certain=False,
                        )

        for call, first, second, _ in chained.pairs(script, "torch.nn.Linear"):
            if not _is_narrow(first, second):
                message = f"`{call.name}` comes right after the `Linear` of line {first.location.line}"
                yield self.at(call, message, certain=False)

    def _way(self, graph: Graph, second: Node) -> tuple[Node, ...]:
        """From the second of two linear layers back to the first, where the two could be one."""
        way = (second, *end(graph, second, _is_affine)) if second.gradient else ()
        if len(way) < 2 or way[-1].role is not Role.LINEAR or not way[-1].gradient:
            return ()
        joined = any(len(graph.users(node)) > 1 for node in way[1:])
        return () if joined or _narrows(graph, way[-1], second) or _is_shared(graph, way[-1], second) else way

    def _finding(self, way: tuple[Node, ...]) -> Diagnostic:
        first, second = name(way[-1]), name(way[0])
        message = f"`{first}` feeds `{second}` with nothing nonlinear between them ({trail(way)})"
        return self.at(way[0], message, severity=Severity.NOTE if _is_handed_over(way[-1], way[0]) else None)


def _is_handed_over(first: Node, second: Node) -> bool:
    """Whether one part of a model ends in the first and another begins with the second, as an encoder and the head that is
    thrown away after training: the numbers in between may be what is wanted. The layers of a stack are no such parts.
    """
    paths = [(layer.location.module or "").split(".") for layer in (first, second)]
    apart = next(((one, two) for one, two in zip(*(path[:-1] for path in paths), strict=False) if one != two), ())
    return bool(apart) and not all(part.isdigit() for part in apart)


def _is_narrow(first: Value, second: Value) -> bool:
    """Whether fewer numbers pass between two layers than go in or come out, or that is neither written nor called so."""
    given, middle, out = first.argument(0), first.argument(1), second.argument(1)
    if middle is not None and (middle.kind == "name" and HIDDEN.fullmatch(middle.method)):
        return False
    fits = middle is not None and str(middle) == str(second.argument(0))
    if fits and middle is not None and any(_is_as_wide(middle, size) for size in (given, out) if size is not None):
        return False
    sizes = [size.constant for size in (given, middle, out) if size is not None and isinstance(size.constant, int)]
    return len(sizes) < 3 or sizes[1] < min(sizes[0], sizes[2])


def _is_as_wide(middle: Value, size: Value) -> bool:
    """`width` or `4 * width`, and `width`."""
    multiplied = middle.arguments if middle.kind == "operation" and middle.name == "*" else (middle,)
    return size.kind == "name" and any(str(part) == str(size) for part in multiplied)


def _is_affine(node: Node) -> bool:
    """Whether what comes out is one linear function of each sample's features: a sum or product with weights alone."""
    return (
        keeps_order(node) or node.role is Role.DROPOUT or (node.role in (Role.ADD, Role.MUL) and len(node.inputs) <= 1)
    )


def _is_shared(graph: Graph, first: Node, second: Node) -> bool:
    """Whether one is also applied without the other, or both are made of one weight: no single matrix could stand for them."""
    tied = not set(first.parameters).isdisjoint(second.parameters)
    return tied or _uses(graph, first) != _uses(graph, second)


def _uses(graph: Graph, layer: Node) -> int:
    return sum(not set(layer.parameters).isdisjoint(node.parameters) for node in graph)


def _narrows(graph: Graph, first: Node, second: Node) -> bool:
    """Whether fewer numbers pass between the two than go in and come out: a factored matrix of low rank."""
    given = [node.shape[-1] for node in graph.inputs(first)[:1] if node.shape]
    if not (given and first.shape and second.shape):
        return True
    return first.shape[-1] < min(given[0], second.shape[-1])
