"""ML202."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Graph, GraphRule, Passed, Run, Severity, Step
from modellint.graph.node import Node, Role
from modellint.graph.walk import walk_back
from modellint.measure.quantities import Logits

_KEEPS = frozenset({Role.RESHAPE, Role.INDEX, Role.CONCAT, Role.DROPOUT, Role.MASK})
_NORMALISES = frozenset({"cross_entropy", "linear_cross_entropy", "log_softmax"})  # those that take raw scores
_ENDS = _NORMALISES | {"nll_loss", "nll_loss_nd"}


def _probabilities(yes: bool | None) -> Run:
    return Run(tuple(Step(i, logits=Logits(10, 5, rows_sum_to_one=yes)) for i in range(3)))


class SoftmaxBeforeLoss(GraphRule):
    """Probabilities enter a loss, or a log-softmax, that takes raw scores.

    Why: cross entropy applies log-softmax itself. Over probabilities, which differ by at most 1, its gradients are
        small and its loss cannot fall below log(e + C - 1) - 1 for C classes, however sure the model is.
    Fix: give the loss the output of the last layer; apply softmax only where probabilities are read.
    Ignore: hardly ever. A log-softmax before cross entropy changes nothing, and is only noted.
    Reported: https://github.com/jindongwang/Deep-learning-activity-recognition/issues/10
    """

    code, severity, certain, topic = "ML202", Severity.ERROR, True, "structure"
    twins = ("softmax-into-cross-entropy",)
    remedy = "drop-softmax"
    bad = (
        Graph.of("input x", "linear head", "softmax softmax", "loss cross_entropy"),
        Graph.of(
            "input x", "linear head", "softmax softmax", "reshape view", "log_softmax log_softmax", "loss nll_loss"
        ),
        Graph.of("input x", "linear head", "softmax softmax", "loss nll_loss"),
        Graph.of("input x", "linear head", "log_softmax log_softmax", "loss cross_entropy"),
    )
    good = (
        Graph.of("input x", "linear head", "log_softmax log_softmax", "loss nll_loss"),
        Graph.of(
            "input x",
            "linear values",
            "softmax weights <- values",
            "attention matmul <- weights, values",
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x",
            "linear student <- x",
            "linear teacher <- x",
            "softmax target <- teacher",
            "log_softmax log_softmax <- student",
            "loss kl_div <- log_softmax, target",
        ),
        Graph.of(
            "input x",
            "linear student <- x",
            "linear teacher <- x",
            "softmax soft",
            "loss cross_entropy <- student, soft",
        ),
        Graph.of("input x", "linear head", "softmax softmax", "activation log", "loss nll_loss"),
        Graph.of("input x", "linear head", "loss cross_entropy"),
    )
    confirmed_by = _probabilities(True)
    not_confirmed_by = _probabilities(False)

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        ends = [node for node in graph if node.operation in _ENDS]
        doubled = [(end, source) for end in ends for source in _normalised(graph, end)]
        yield from (self._finding(end, source) for end, source in doubled)
        if ends and not doubled:
            yield self.passed("the class loss takes raw scores or log-probabilities, as it expects")

    def _finding(self, end: Node, source: Node) -> Diagnostic:
        if source.role is Role.LOG_SOFTMAX:
            message = f"`log_softmax` before `{end.operation}`, which applies it itself"
            return self.at(source, message, severity=Severity.NOTE)
        wanted = "raw scores" if end.operation in _NORMALISES else "log-probabilities"
        return self.at(source, f"softmax before `{end.operation}`, which takes {wanted}")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        if finding.severity is Severity.NOTE:
            return None
        rows = [step.logits.rows_sum_to_one for step in run.steps if step.logits is not None]
        measured = [yes for yes in rows if yes is not None]
        claim = "share of steps whose rows into the class loss are probabilities (no negative, sum 1)"
        share = sum(measured) / len(measured) if measured else None
        return None if share is None else Evidence(claim, share, 1.0, holds=share == 1.0)


def _normalised(graph: Graph, end: Node) -> Iterator[Node]:
    """The softmax, if any, whose result is the prediction that `end` reads."""
    prediction = graph.inputs(end)[:1]
    behind = [*prediction, *(n for p in prediction if p.role in _KEEPS for n in walk_back(graph, p, _keeps))]
    wrong = (Role.SOFTMAX, Role.LOG_SOFTMAX) if end.operation in _NORMALISES else (Role.SOFTMAX,)
    return (node for node in behind if node.role in wrong and node is not end)


def _keeps(node: Node) -> bool:
    return node.role in _KEEPS
