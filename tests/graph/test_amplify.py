from __future__ import annotations

from modellint import Graph
from modellint.graph.amplify import amplifiers, residual_additions
from modellint.graph.node import LAYERS
from modellint.graph.walk import walk_back


def found(*lines: str) -> list[str]:
    graph = Graph.of(*lines)
    readout = graph[graph.output]
    between = list(walk_back(graph, readout, lambda node: node.role not in LAYERS))
    return list(amplifiers(graph, between, std=10.0, uses=3))


def test_sums_grow_with_their_length() -> None:
    assert found("input x", "linear body", "reduce sum", "linear readout")
    assert found("input x", "linear body", "scatter index_add", "linear readout")
    assert found("input x", "linear body", "activation exp", "linear readout")


def test_averages_do_not() -> None:
    mean = "input m", "reduce count operation=sum <- m", "mul div <- sum, count", "linear readout"
    assert not found("input x", "linear body", "reduce sum", *mean)
    pooled = "softmax softmax <- body", "mul mul <- softmax, body", "reduce sum", "linear readout"
    assert not found("input x", "linear body", *pooled)


def test_a_weight_that_is_applied_over_and_over() -> None:
    steps = [line for i in range(3) for line in (f"linear step{i} weight=cell", f"activation relu{i}")]
    assert found("input x", *steps, "linear readout") == ["a weight applied 3 times in a chain"]
    siblings = [f"linear twin{i} weight=shared <- x" for i in range(3)]
    assert not found("input x", *siblings, "concat cat <- twin0, twin1, twin2", "linear readout")


def test_large_inputs() -> None:
    assert found("input x std=74", "linear body", "linear readout") == ["an input with a standard deviation of 74"]
    assert not found("input x std=74", "norm batch_norm", "linear body", "linear readout")


def test_a_branch_with_a_learned_scale_is_no_growing_sum() -> None:
    graph = Graph.of(
        "input x",
        "linear a",
        "linear b",
        "add plain <- a, b",
        "mul gain weight=gain",
        "add scaled <- gain, a",
        "add shifted <- scaled",
    )
    assert [node.name for node in residual_additions(graph, graph)] == ["plain"]
