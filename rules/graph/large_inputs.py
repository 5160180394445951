"""ML218."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, GraphRule, Passed, Run, Severity, Step
from modellint.graph.graph import Graph
from modellint.graph.node import Node, Role
from modellint.graph.words import name
from modellint.measure.quantities import Batch, Distribution
from modellint.measure.trajectory import no_better_than_guessing

CARRIES = frozenset({Role.RESHAPE, Role.INDEX, Role.CONCAT, Role.DROPOUT, Role.POOL})  # the scale stays
LAYERS = frozenset({Role.LINEAR, Role.CONV, Role.RECURRENT})


def _run(std: float, losses: tuple[float, ...]) -> Run:
    batch = Batch(values=Distribution(std=std))
    return Run(
        tuple(Step(i, loss=loss, class_loss=loss, batch=batch) for i, loss in enumerate(losses)),
        classes=4,
        label_counts={0: 10, 1: 10, 2: 10, 3: 10},
    )


class LargeInputs(GraphRule):
    """Numbers in the tens or hundreds enter the first layer as they are.

    Why: the usual initialisation and learning rates are made for inputs of unit variance. Outputs and gradients of the first
        layer grow with the input: units die or saturate in the first steps, and features of small numbers are drowned by
        those of large ones.
    Fix: standardise the inputs with the mean and the deviation of the training data (pixels: divide by 255 first), or put
        a norm in front of the first activation.
    Ignore: where the loss falls all the same (not reported).
    Thresholds: `std` = 10: a floating-point tensor that enters the model, and no norm before the first activation (0 of
        129 healthy runs); a run confirms it only where the loss is in trouble besides: its start above `excess` = 2
        times that of guessing, or its end no better than guessing.
    Reported: https://github.com/Nikronic/EdgeNet/issues/1
    """

    code, severity, topic = "ML218", Severity.WARNING, "data"
    explains = (
        "dead-units",
        "collapsed-features",
        "bad-initial-loss",
        "identical-outputs",
        "exploding-gradients",
        "cannot-overfit",
    )
    twins = ("unscaled-inputs",)
    remedy = "standardise-input"
    std, excess = 10.0, 2.0
    bad = (
        Graph.of(
            "input x std=74", "reshape flat", "linear body", "activation relu", "linear head", "loss cross_entropy"
        ),
        Graph.of("input x std=700", "linear head", "loss mse"),
        Graph.of("input x std=74", "conv stem", "activation relu", "norm n", "linear head", "loss cross_entropy"),
    )
    good = (
        Graph.of("input x std=74", "conv stem", "norm n", "activation relu", "linear head", "loss cross_entropy"),
        Graph.of("input x std=74", "norm n", "linear head", "loss cross_entropy"),
        Graph.of("input x std=74", "mul scaled", "conv stem", "activation relu", "linear head", "loss cross_entropy"),
        Graph.of("input x std=0.9", "linear head", "loss cross_entropy"),
        Graph.of("input x std=0.9", "linear head", "input y std=300", "loss mse <- head, y"),  # the target
    )
    confirmed_by = (_run(74.0, (52.0, 9e3, 1.4, 1.4, 1.4)), _run(74.0, (1.4, 1.4, 1.4, 1.4, 1.4)))
    not_confirmed_by = (_run(74.0, (1.4, 1.2, 1.0, 0.9, 0.8)), _run(0.9, (52.0, 9.0, 5.0, 4.0, 3.0)))

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        for node in graph.of_role(Role.INPUT):
            if not node.gradient and (node.std or 0.0) > self.std:
                for layer in _first_layers(graph, node):
                    if not _is_normed(graph, layer):
                        size = f"a standard deviation of {node.std:.3g}"
                        yield self.at(layer, f"`{name(layer)}` is given inputs with {size} as they are")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        """The inputs stay so large, and the loss starts far off or does not get below guessing."""
        stds = [s.batch.values.std for s in run.steps if s.batch is not None and s.batch.values.std is not None]
        if not stds:
            return None
        started = run.steps[0].class_loss is not None and (run.classes or 0) > 1
        off = started and (run.steps[0].class_loss or 0.0) > self.excess * math.log(run.classes or 2)
        holds = min(stds) > self.std and (off or no_better_than_guessing(run, run.steps))
        claim = "standard deviation of what enters the model"
        return Evidence(claim, min(stds), self.std, holds=holds, series=tuple(stds))


def _first_layers(graph: Graph, start: Node) -> Iterator[Node]:
    """The layers that are given the input with its scale."""
    waiting, seen = [start.name], {start.name}
    for source in waiting:
        for node in (node for node in graph if source in node.inputs and node.name not in seen):
            seen.add(node.name)
            if node.role in LAYERS:
                yield node
            elif node.role in CARRIES:
                waiting.append(node.name)


def _is_normed(graph: Graph, layer: Node) -> bool:
    """Whether a norm stands behind the layer, before anything that is no sum."""
    behind = [node for node in graph if layer.name in node.inputs]
    return any(n.role is Role.NORM or (n.role in (Role.ADD, Role.RESHAPE) and _is_normed(graph, n)) for n in behind)
