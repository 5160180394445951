"""ML211."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Graph, GraphRule, Passed, Severity
from modellint.graph.attention import Attention, attentions
from modellint.graph.words import trail


class UnscaledAttention(GraphRule):
    """The scores of an attention are not divided by the square root of the size of a head.

    Why: a product of two vectors of d independent numbers has a standard deviation of sqrt(d). A softmax over such
        scores gives nearly all weight to one place and passes hardly any gradient to the rest.
    Fix: divide the scores, or the queries, by `sqrt(d)`, or use `scaled_dot_product_attention`.
    Ignore: when the initialisation makes up for it, as that of T5 does: the scores are small then, and the rule is
        silent.
    Thresholds: `spread` = 4, the standard deviation of the recorded scores; scaled ones start below 1.5. Without numbers
        the rule only suspects.
    Reported: https://github.com/FrancescoSaverioZuppichini/ViT/issues/2
    """

    code, severity, topic = "ML211", Severity.WARNING, "structure"
    spread = 4.0
    bad = (
        Graph.of(
            "input x",
            "linear q <- x",
            "linear k <- x",
            "linear v <- x",
            "mul matmul1 operation=matmul std=8 shape=2x6x6 <- q, k",
            "softmax softmax dim=-1",
            "attention matmul2 operation=matmul <- softmax, v",
            "loss cross_entropy",
        ),
    )
    good = (
        Graph.of(
            "input x",
            "linear q <- x",
            "linear k <- x",
            "mul matmul1 operation=matmul std=8 <- q, k",
            "mul div other=8",
            "softmax softmax dim=-1",
            "attention matmul2 operation=matmul <- softmax, k",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x",
            "linear q <- x",
            "mul scaled operation=mul other=0.125",
            "linear k <- x",
            "mul matmul1 operation=matmul std=8 <- scaled, k",
            "softmax softmax dim=-1",
            "attention matmul2 operation=matmul <- softmax, k",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x",
            "linear q <- x",
            "linear k <- x",
            "mul matmul1 operation=matmul std=0.9 <- q, k",  # T5: the initialisation holds the scale
            "softmax softmax dim=-1",
            "attention matmul2 operation=matmul <- softmax, k",
            "loss cross_entropy",
        ),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        found = list(attentions(graph))
        unscaled = [each for each in found if not each.scaled]
        loud = [each for each in unscaled if each.scores.std is None or each.scores.std >= self.spread]
        yield from (self._finding(each) for each in loud)
        if found and not loud:
            yield self.passed("the scores of every attention are scaled or small")

    def _finding(self, attention: Attention) -> Diagnostic:
        spread, size = attention.scores.std, attention.head_size
        evidence = [Evidence("standard deviation of the scores", spread, self.spread)] if spread is not None else []
        message = f"scores of heads of size {size} enter the softmax unscaled ({trail(attention.way)})"
        foreign = attention.scores.foreign
        return self.at(
            attention.scores,
            message,
            measured=spread is not None,
            evidence=evidence,
            severity=Severity.NOTE if foreign else None,
        )
