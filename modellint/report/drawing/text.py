"""The graph as text: one line a node, findings below the line they belong to, then the graph as torch.fx prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint.core.diagnostic import Diagnostic
from modellint.graph.graph import Graph
from modellint.graph.words import label

from .rows import Row, elsewhere, rows


def as_text(graph: Graph, findings: Sequence[Diagnostic], code: str = "") -> str:
    return "\n".join(_lines(graph, findings, code)) + "\n"


def _lines(graph: Graph, findings: Sequence[Diagnostic], code: str) -> Iterator[str]:
    yield from map(sentence, elsewhere(graph, findings))
    drawn = rows(graph, findings)
    width = max((len(label(row.node)) for row in drawn), default=0)
    for number, row in enumerate(drawn):
        yield f"{number:4} {row.node.role:11} {label(row.node):{width}}  {details(row)}".rstrip()
        yield from (f"     ^ {sentence(finding)}" for finding in row.findings)
    if code:
        yield from ("", code)


def details(row: Row) -> str:
    """Shape, place, and what is read where that is not the row above."""
    node = row.node
    shape = "x".join(map(str, node.shape))
    place = f"{node.location.path}:{node.location.line}" if node.location.path else ""
    reads = f"<- {', '.join(map(str, row.sources))}" if row.sources else ""
    return "  ".join(part for part in (shape, place, reads) if part)


def sentence(finding: Diagnostic) -> str:
    return f"{finding.level}[{finding.code} {finding.rule}] {finding.verdict}: {finding.message}"
