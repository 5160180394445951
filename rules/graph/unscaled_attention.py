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
    Thresholds: `spread` = 4 convicts, the standard deviation of the recorded scores; from `least` = 2.5 and without numbers
        the rule only suspects. Measured over heads of 16 to 256 behind a LayerNorm: scaled scores start at 0.35 with the
        initialisation of nn.Linear, at 1.1 with Xavier, LeCun and orthogonal matrices, at 2.2 with He's; unscaled ones at
        4 to 16 with Xavier's, and with that of nn.Linear at a third of sqrt(d): 2.7 for heads of 64, 5.4 for 256.
    Reported: https://github.com/FrancescoSaverioZuppichini/ViT/issues/2
    """

    code, severity, topic = "ML211", Severity.WARNING, "structure"
    spread, least = 4.0, 2.5
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
        Graph.of(
            "input x",
            "linear q <- x",
            "linear k <- x",
            "mul matmul1 operation=matmul std=2.7 shape=2x6x6 <- q, k",  # heads of 64, nn.Linear as it is: a suspicion
            "softmax softmax dim=-1",
            "attention matmul2 operation=matmul <- softmax, k",
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
        loud = [each for each in unscaled if each.scores.std is None or each.scores.std >= self.least]
        yield from (self._finding(each) for each in loud)
        if found and not loud:
            yield self.passed("the scores of every attention are scaled or small")

    def _finding(self, attention: Attention) -> Diagnostic:
        spread, size = attention.scores.std, attention.head_size
        holds = spread is not None and spread >= self.spread
        claim = "standard deviation of the scores"
        evidence = [] if spread is None else [Evidence(claim, spread, self.spread, holds=holds)]
        message = f"scores of heads of size {size} enter the softmax unscaled ({trail(attention.way)})"
        foreign = attention.scores.foreign
        return self.at(
            attention.scores,
            message,
            measured=holds,
            evidence=evidence,
            severity=Severity.NOTE if foreign else None,
        )
