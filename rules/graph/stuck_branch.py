"""ML217."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Graph, GraphRule, Passed, Run, Severity, Step
from modellint.graph.node import Node, Role
from modellint.graph.words import name, trail
from modellint.measure.cast import Parameter

LAYERS = (Role.LINEAR, Role.CONV)
KEEPS = (Role.RESHAPE, Role.DROPOUT, Role.INDEX, Role.POOL, Role.CONCAT)
SUMS = frozenset({"sum", "mean", "cumsum"})
ODD = frozenset(
    "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish tanh softsign hardtanh abs square neg".split()
)


def _run(gradient: float) -> Run:
    return Run(tuple(Step(i, gradients={"up.weight": gradient}) for i in range(4)), (Parameter("up.weight", (8, 8)),))


class StuckBranch(GraphRule):
    """Two factors in a row start at zero, so that neither ever receives a gradient.

    Why: the gradient of each factor is multiplied with the other one. One factor of zero makes a branch start softly; two
        keep it at zero for ever, while the rest trains around it.
    Fix: start one of the two at random: in LoRA the first matrix, in a gated branch the last layer or the gate.
    Ignore: hardly ever.
    Reported: https://github.com/yz93/LAVT-RIS/issues/25, https://github.com/KU-VGI/LFS-GAN/issues/2
    """

    code, severity, certain, topic = "ML217", Severity.WARNING, True, "gradients"
    explains = ("zero-gradients",)
    bad = (
        Graph.of(
            "input x",
            "linear base <- x",
            "linear down zero <- x",
            "linear up zero",
            "add add <- base, up",
            "loss mse_loss",
        ),
        Graph.of(
            "input x",
            "linear body",
            "linear out zero bias",
            "mul gate weight=gate zero",
            "add add <- body, gate",
            "loss mse_loss",
        ),
        Graph.of(
            "input x",
            "linear base factors=up*down",  # W + B @ A, merged beforehand
            "parameter up zero",
            "parameter down zero",
            "loss mse_loss",
        ),
    )
    good = (
        Graph.of(
            "input x", "linear base <- x", "linear down <- x", "linear up zero", "add add <- base, up", "loss mse_loss"
        ),
        Graph.of(
            "input x",
            "linear body",
            "linear out",
            "mul gate weight=gate zero",
            "add add <- body, gate",
            "loss mse_loss",
        ),
        Graph.of(
            "input x",
            "linear hint zero <- x",  # a zero convolution that is added to something before the next one
            "linear body <- x",
            "add add <- hint, body",
            "linear out zero",
            "add sum <- out, body",
            "loss mse_loss",
        ),
        Graph.of("input x", "linear down zero frozen", "linear up zero frozen", "loss mse_loss"),
        Graph.of("input x", "linear base factors=up*down", "parameter up zero", "parameter down", "loss mse_loss"),
    )
    confirmed_by = _run(0.0)
    not_confirmed_by = _run(0.1)

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        zero = _zeros(graph)
        for node in graph:
            silent = [each for each in graph.inputs(node) if zero[each.name]]
            factors = len(silent) if node.role is Role.MUL else min(len(silent), node.role in (*LAYERS, Role.NORM))
            if node.gradient and silent and factors + _own_zero(graph, node) > 1:
                way = _to_source(graph, silent[0], zero)
                yield self._finding(node, name(way[-1]), name(node), f" ({trail((node, *way))})")
            for pair in _zero_products(graph, node):
                yield self._finding(node, *pair)

    def _finding(self, node: Node, first: str, second: str, way: str = "") -> Diagnostic:
        return self.at(node, f"`{first}` and `{second}` both start at zero: neither gets a gradient{way}")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        module = finding.location.module or ""
        names = [p.name for p in run.parameters if p.is_weight and p.name.startswith(module)]
        found = [norm for step in run.steps for name in names if (norm := step.gradients.get(name)) is not None]
        if not found:
            return None
        return Evidence(
            "largest gradient of the branch's weights in the watched steps", max(found), 0.0, holds=not any(found)
        )


def _zero_products(graph: Graph, node: Node) -> Iterator[tuple[str, str]]:
    """Pairs of parameters of zero that are multiplied with each other before the layer applies them."""
    trained = {each.name for each in graph.parameters_of(node) if each.zero and each.requires_grad}
    for factors in node.factors:
        silent = [name for name in factors if name in trained]
        if len(silent) > 1:
            yield silent[0], silent[1]


def _zeros(graph: Graph) -> dict[str, bool]:
    """Which nodes are zero whatever comes in, because parameters are."""
    zero: dict[str, bool] = {}
    for node in graph:
        zero[node.name] = _is_zero(graph, node, [zero[each.name] for each in graph.inputs(node)])
    return zero


def _is_zero(graph: Graph, node: Node, inputs: list[bool]) -> bool:
    silent = bool(inputs) and all(inputs)
    if node.role in (*LAYERS, Role.NORM):
        return _own_zero(graph, node) or (silent and node.role in LAYERS and not _shifts(graph, node))
    if node.role is Role.MUL:
        return _own_zero(graph, node) or any(inputs)
    if node.role is Role.ADD:
        return silent and not node.settings.get("other") and all(each.zero for each in graph.parameters_of(node))
    keeps = node.role in KEEPS or node.operation in SUMS or (node.role is Role.ACTIVATION and node.operation in ODD)
    return silent and keeps


def _own_zero(graph: Graph, node: Node) -> bool:
    """Whether all parameters of the node are zero and meant to train."""
    own = graph.parameters_of(node)
    return bool(own) and len(own) == len(node.parameters) and all(each.zero and each.requires_grad for each in own)


def _shifts(graph: Graph, node: Node) -> bool:
    return any(len(each.shape) == 1 and not each.zero for each in graph.parameters_of(node))


def _to_source(graph: Graph, node: Node, zero: dict[str, bool]) -> tuple[Node, ...]:
    """From a node that is zero back to the parameters that make it so."""
    way = [node]
    while not _own_zero(graph, way[-1]):
        way.append(next(each for each in graph.inputs(way[-1]) if zero[each.name]))
    return tuple(way)
