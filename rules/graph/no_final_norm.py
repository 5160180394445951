"""ML212."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Graph, GraphRule, Passed, Severity
from modellint.graph.amplify import residual_additions
from modellint.graph.features import HIDDEN, feeding
from modellint.graph.node import Node, Role
from modellint.graph.walk import judges_classes, readouts
from modellint.graph.words import name


class NoFinalNorm(GraphRule):
    """The residual stream of a pre-norm network enters the readout without a norm of its own.

    Why: each block normalises what it reads and adds to a stream that nothing normalises: its variance grows with the
        number of blocks, and the logits and the gradients of the readout with it.
    Fix: put the final norm (`ln_f` in GPT, `norm` in ViT) between the last block and the readout.
    Ignore: when each branch is scaled by a small number that is learned or falls with the depth.
    Thresholds: `additions`: four branches of unit variance double the scale of the stream. With fewer (at least `fewest`), or
        where no loss over classes turns the scale into confidence, the rule only suspects: denoisers train well without.
    Reported: https://github.com/thuanz123/enhancing-transformers/issues/10
    """

    code, severity, topic = "ML212", Severity.WARNING, "structure"
    explains = ("exploding-gradients", "unscaled-features", "bad-initial-loss")
    remedy = "normalize-readout"
    additions, fewest = 4, 2
    bad = Graph.of(
        "input x",
        "embedding tokens",
        "norm n1 <- tokens",
        "linear a",
        "add add1 <- tokens, a",
        "norm n2 <- add1",
        "linear b",
        "add add2 <- add1, b",
        "linear head",
        "loss cross_entropy",
    )
    good = (
        Graph.of(
            "input x",
            "embedding tokens",
            "norm n1 <- tokens",
            "linear a",
            "add add1 <- tokens, a",
            "norm n2 <- add1",
            "linear b",
            "add add2 <- add1, b",
            "reduce mean",
            "norm final",
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x",  # post-norm
            "embedding tokens",
            "linear a <- tokens",
            "add add1 <- tokens, a",
            "norm n1",
            "linear b",
            "add add2 <- n1, b",
            "norm n2",
            "linear head",
            "loss cross_entropy",
        ),
        Graph.of(
            "input x",  # scaled branches
            "embedding tokens",
            "norm n1 <- tokens",
            "linear a",
            "mul gain1 weight=gain1",
            "add add1 <- tokens, gain1",
            "norm n2 <- add1",
            "linear b",
            "mul gain2 weight=gain2",
            "add add2 <- add1, gain2",
            "linear head",
            "loss cross_entropy",
        ),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        for readout in {name(node): node for node in readouts(graph)}.values():
            stream = feeding(graph, readout)
            sums, norms = residual_additions(graph, stream), list(_branch_norms(graph, stream))
            if len(sums) >= self.fewest and len(norms) >= self.fewest and not any(n.role is Role.NORM for n in stream):
                yield self._finding(graph, readout, stream, sums)

    def _finding(self, graph: Graph, readout: Node, stream: Sequence[Node], sums: Sequence[Node]) -> Diagnostic:
        source = next((node for node in reversed(stream) if node.role in (*HIDDEN, Role.EMBEDDING)), stream[-1])
        walked = f"`{name(readout)}` ← {len(sums)} residual additions ← `{name(source)}`, no norm"
        message = f"the residual stream enters the readout without a final norm ({walked})"
        return self.at(readout, message, certain=judges_classes(graph) and len(sums) >= self.additions)


def _branch_norms(graph: Graph, stream: Sequence[Node]) -> Iterator[Node]:
    """Norms that read the stream and are not part of it: those at the entrance of the blocks."""
    within = {node.name for node in stream}
    for node in graph.of_role(Role.NORM):
        if node.name not in within and within & set(node.inputs):
            yield node
