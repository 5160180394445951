from __future__ import annotations

from modellint import Graph
from modellint.core.plain import from_plain, to_plain
from modellint.graph.node import Role
from modellint.graph.walk import carriers, learned_parameters, path, readouts, walk_back

TWO_HEADS = Graph.of(
    "input x",
    "linear body",
    "activation relu",
    "linear classes <- relu",
    "loss cross_entropy <- classes",
    "linear boxes <- relu",
    "loss l1_loss <- boxes",
    "add add <- cross_entropy, l1_loss",
)


def test_a_graph_survives_json() -> None:
    assert from_plain(Graph, to_plain(TWO_HEADS)) == TWO_HEADS


def test_a_line_reads_the_one_before() -> None:
    graph = Graph.of("input x std=40", "linear body", "norm layer_norm operation=rms_norm")
    assert graph["body"].inputs == ("x",)
    assert (graph["x"].std, graph["layer_norm"].operation) == (40.0, "rms_norm")
    assert graph["layer_norm"].bounded


def test_every_head_of_the_loss_is_a_readout() -> None:
    assert {node.name for node in readouts(TWO_HEADS)} == {"classes", "boxes"}


def test_a_readout_is_what_feeds_the_loss_and_not_the_last_layer() -> None:
    graph = Graph.of("input x", "linear readout", "linear unused <- x", "loss cross_entropy <- readout")
    assert [node.name for node in readouts(graph)] == ["readout"]


def test_a_latent_code_that_the_loss_regularises_is_no_readout() -> None:
    graph = Graph.of(
        "input x",
        "linear code",
        "linear decoder",
        "loss mse_loss <- decoder, x",
        "reduce mean <- code",
        "add add <- mse_loss, mean",
    )
    assert [node.name for node in readouts(graph)] == ["decoder"]


def test_a_detached_branch_has_no_readout_and_does_not_learn() -> None:
    graph = Graph.of(
        "input x",
        "linear teacher",
        "detach detach",
        "linear student <- x",
        "loss mse_loss <- student, detach",
    )
    assert [node.name for node in readouts(graph)] == ["student"]
    assert learned_parameters(graph) == {"student.weight"}


def test_the_scale_of_attention_is_that_of_its_values() -> None:
    graph = Graph.of(
        "input x",
        "linear q <- x",
        "linear k <- x",
        "linear v <- x",
        "attention scaled_dot_product_attention <- q, k, v",
    )
    assert [node.name for node in carriers(graph, graph["scaled_dot_product_attention"])] == ["v"]
    assert learned_parameters(graph) == {"q.weight", "k.weight", "v.weight"}


def test_the_readout_of_attention_over_its_own_outputs_makes_the_values() -> None:
    graph = Graph.of(
        "input x",
        "linear values",
        "linear scores",
        "softmax softmax",
        "attention mm <- softmax, values",
        "loss nll_loss",
    )
    assert [node.name for node in readouts(graph)] == ["values"]


def test_paths() -> None:
    way = path(TWO_HEADS, TWO_HEADS["add"], TWO_HEADS["body"])
    assert [node.name for node in way] == ["add", "cross_entropy", "classes", "relu", "body"]
    assert path(TWO_HEADS, TWO_HEADS["body"], TWO_HEADS["add"]) == ()


def test_a_walk_stops_where_it_is_told() -> None:
    found = walk_back(TWO_HEADS, TWO_HEADS["classes"], lambda node: node.role is Role.ACTIVATION)
    assert [node.name for node in found] == ["relu", "body"]
