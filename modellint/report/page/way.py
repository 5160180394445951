"""The way from the input to the loss, as the recorded graph has it: the operations nearest to the loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modellint.core.diagnostic import Location
from modellint.core.plain import from_plain
from modellint.core.record import dataclass
from modellint.graph.graph import Graph
from modellint.graph.node import Node, Role
from modellint.graph.walk import carriers, learns, readouts
from modellint.measure.run import Run

MOST = 16  # stops that are drawn


@dataclass(frozen=True, slots=True)
class Stop:
    name: str
    detail: str  # the module and the shape of what comes out
    kind: str  # "readout", "norm", "loss", or "" for any other
    rules: tuple[str, ...]  # of the findings at this module


@dataclass(frozen=True, slots=True)
class Way:
    stops: tuple[Stop, ...]  # in the order of the computation
    before: int  # operations ahead of the first one that is drawn


def way(run: Run, found: Iterable[tuple[str, Location]]) -> Way | None:
    """`found` are rules and places of findings. None where no graph was recorded."""
    graph = from_plain(Graph, run.graph) if run.graph else None
    if graph is None or not graph.nodes:
        return None
    nodes = list(_back(graph))
    ends, places = {node.name for node in readouts(graph)}, list(found)
    stops = [_stop(node, node.name in ends, places) for node in nodes[:MOST]]
    return Way(tuple(reversed(stops)), len(nodes) - len(stops))


def _back(graph: Graph) -> Iterator[Node]:
    """From the loss along the first input that learns; where none does, along the first."""
    node: Node | None = graph[graph.output]
    seen: set[str] = set()
    while node is not None and node.name not in seen:
        seen.add(node.name)
        yield node
        inputs = carriers(graph, node)
        node = next((source for source in inputs if learns(source)), next(iter(inputs), None))


def _stop(node: Node, is_readout: bool, found: Iterable[tuple[str, Location]]) -> Stop:
    kind = "readout" if is_readout else str(node.role) if node.role in (Role.NORM, Role.LOSS) else ""
    shape = " x ".join(map(str, node.shape))
    module = node.location.module or ""
    rules = dict.fromkeys(rule for rule, place in found if module and place.module == module)
    name = node.operation or str(node.role)
    return Stop(name, " ".join(part for part in (module, shape) if part), kind, tuple(rules))
