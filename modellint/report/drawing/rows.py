"""A graph as rows, one node each, in lanes: the result of a node keeps its lane until its last reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from modellint.core.diagnostic import Diagnostic, Location
from modellint.core.record import dataclass
from modellint.graph.graph import Graph
from modellint.graph.node import Node, Role
from modellint.graph.words import label

_VIEWS = (Role.RESHAPE, Role.INDEX)


@dataclass(frozen=True, slots=True)
class Row:
    node: Node
    lane: int
    sources: tuple[int, ...] = ()  # the numbers of the rows that it reads
    findings: tuple[Diagnostic, ...] = ()


def rows(graph: Graph, findings: Sequence[Diagnostic]) -> tuple[Row, ...]:
    """In the order of execution; views and picks of one tensor are left out unless something was found there."""
    told = _told(graph, findings)
    nodes = [node for node in graph if node.name in told or not _is_view(graph, node)]
    kept = {node.name: index for index, node in enumerate(nodes)}
    reads = [tuple(dict.fromkeys(kept[name] for name in _shown(graph, node, kept))) for node in nodes]
    last = {source: index for index, sources in enumerate(reads) for source in sources}
    return tuple(
        Row(node, lane, sources, tuple(told.get(node.name, ())))
        for node, lane, sources in zip(nodes, _lanes(reads, last), reads, strict=True)
    )


def elsewhere(graph: Graph, findings: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Those that lie at no node, as of a parameter that nothing reads."""
    placed = [finding for found in _told(graph, findings).values() for finding in found]
    return [finding for finding in findings if finding not in placed]


def _lanes(reads: Sequence[Sequence[int]], last: Mapping[int, int]) -> Iterator[int]:
    """The leftmost lane that is free, those counted in whose last reader the row is."""
    held: list[int | None] = []
    for index, sources in enumerate(reads):
        held = [None if row is not None and row in sources and last[row] <= index else row for row in held]
        lane = next((lane for lane, row in enumerate(held) if row is None), len(held))
        held[lane : lane + 1] = [index if index in last else None]
        yield lane


def _told(graph: Graph, findings: Iterable[Diagnostic]) -> dict[str, list[Diagnostic]]:
    """Findings by the node at whose place they are; of several nodes on one line the first that the message names."""
    told: dict[str, list[Diagnostic]] = {}
    for finding in findings:
        near = [node for node in graph if _is_at(finding.location, node)]
        named = [node for node in near if f"`{label(node)}`" in finding.message]
        for node in (named or near)[:1]:
            told.setdefault(node.name, []).append(finding)
    return told


def _is_at(place: Location, node: Node) -> bool:
    own = node.location
    return (place.path, place.line, place.module) == (own.path, own.line, own.module)


def _is_view(graph: Graph, node: Node) -> bool:
    return node.role in _VIEWS and not node.parameters and len(node.inputs) == 1 and node.name != graph.output


def _shown(graph: Graph, node: Node, kept: Mapping[str, int]) -> Iterator[str]:
    for source in graph.inputs(node):
        yield from [source.name] if source.name in kept else _shown(graph, source, kept)
