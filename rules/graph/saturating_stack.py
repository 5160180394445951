"""ML206."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Graph, GraphRule, Passed, Run, Severity, Step
from modellint.graph.node import Node, Role
from modellint.graph.words import trail
from modellint.measure.cast import Parameter
from modellint.measure.statistics import median

SATURATES = frozenset({"sigmoid", "tanh", "hardsigmoid", "softsign", "logsigmoid"})
LAYERS = (Role.LINEAR, Role.CONV)
Way = tuple[Node, ...]


def _run(first: float, last: float) -> Run:
    parameters = tuple(Parameter(name, (8, 8), optimizer=0) for name in ("layers.0.weight", "layers.9.weight"))
    steps = (Step(i, gradients={"layers.0.weight": first, "layers.9.weight": last}) for i in range(5))
    return Run(tuple(steps), parameters)


class SaturatingStack(GraphRule):
    """Many saturating activations follow each other, with neither a norm nor a residual path.

    Why: the derivative of a sigmoid is at most 1/4, that of a tanh 1 at zero only: after some layers hardly any gradient
        is left, and the first layers do not learn.
    Fix: use ReLU or GELU, put norms between the layers, or add residual connections.
    Ignore: when smooth derivatives are needed (physics-informed networks use tanh) and the gradients of the first layer
        are measured to be there.
    Thresholds: `depth` = 5 in a row. Convicted only if the gradient of the first weight matrix is less than `ratio` =
        0.001 times that of the last, in root mean squares (0 of 198 healthy runs, the nearest 0.013; 6 of 6 deep sigmoid
        networks).
    Reported: https://github.com/aymericdamien/TensorFlow-Examples/pull/146
    """

    code, severity, topic = "ML206", Severity.WARNING, "gradients"
    explains = ("zero-gradients", "loss-not-falling")
    depth, ratio = 5, 1e-3
    bad = Graph.of(
        "input x",
        *(line for i in range(5) for line in (f"linear fc{i}", f"activation sigmoid{i}")),
        "linear head",
        "loss cross_entropy",
    )
    good = (
        Graph.of(
            "input x",
            *(line for i in range(4) for line in (f"linear fc{i}", f"activation sigmoid{i}")),
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x",
            *(line for i in range(6) for line in (f"linear fc{i}", f"norm layer_norm{i}", f"activation tanh{i}")),
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x",
            "linear fc",
            *(
                line
                for i in range(6)
                for line in (
                    f"linear l{i}",
                    f"activation tanh{i}",
                    f"add add{i} <- tanh{i}, {f'add{i - 1}' if i else 'fc'}",
                )
            ),
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x",
            *(line for i in range(6) for line in (f"linear fc{i}", f"activation relu{i}")),
            "linear head",
            "loss cross_entropy",
        ),
    )
    confirmed_by = _run(1e-7, 0.2)
    not_confirmed_by = _run(0.1, 0.2)

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        longest: Way = max(_ways(graph).values(), key=_saturations, default=())
        count = _saturations(longest)
        if count >= self.depth:
            kinds = " and ".join(sorted({node.operation for node in longest if node.operation in SATURATES}))
            first = next(node for node in longest if node.role in LAYERS)
            message = f"{count} layers of {kinds} in a row, with neither a norm nor a residual path"
            yield self.at(first, f"{message} ({trail(tuple(reversed(longest)))})")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        weights = [p for p in run.parameters if p.is_weight and p.requires_grad and not p.zero_initialised]
        ratios = [r for step in run.steps[2:] or run.steps if (r := _ratio(step, weights)) is not None]
        if not ratios:
            return None
        found = median(ratios)
        claim = "gradient of the first weight matrix, in units of that of the last"
        return Evidence(claim, found, self.ratio, holds=found < self.ratio, series=tuple(ratios))


def _ways(graph: Graph) -> dict[str, Way]:
    """For each node the layers and saturating activations in a row that end there, first one first."""
    ways: dict[str, Way] = {}
    for node in graph:
        streams = [ways[each.name] for each in graph.inputs(node) if each.gradient or each.name in ways]
        way = streams[0] if len(streams) == 1 and node.role is not Role.NORM and node.role is not Role.RECURRENT else ()
        if node.role in LAYERS or (node.operation in SATURATES and way and way[-1].role in LAYERS):
            way = (*way, node)
        elif node.role is Role.ACTIVATION and node.operation not in SATURATES:
            way = ()
        ways[node.name] = way
    return ways


def _saturations(way: Way) -> int:
    return sum(node.operation in SATURATES for node in way)


def _ratio(step: Step, weights: list[Parameter]) -> float | None:
    sizes = [norm / math.sqrt(math.prod(p.shape)) for p in weights if (norm := step.gradients.get(p.name)) is not None]
    return sizes[0] / sizes[-1] if len(sizes) > 1 and sizes[-1] else None
