"""The plain graph of one recorded forward and loss: nodes with roles, edges and the user's lines; no torch in sight."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from modellint.core.record import dataclass

from . import compact
from .node import Node, Parameter, Role


@dataclass(frozen=True)
class Graph:
    """The nodes that reach `output`, the tensor that backward() starts from, each after what it reads."""

    nodes: tuple[Node, ...] = ()
    output: str = ""
    parameters: tuple[Parameter, ...] = ()

    @classmethod
    def of(cls, *lines: str) -> Graph:
        """A graph of lines `role name [key=value ...] [<- input, ...]`; without `<-` a line reads the one before.

        Graph.of("input x", "linear body", "activation relu", "linear readout", "loss cross_entropy")

        `compact` says which keys there are; a line `parameter NAME [key=value ...]` is of a parameter that no line reads.
        """
        nodes, parameters = compact.nodes(lines), compact.parameters(lines)
        return cls(nodes, nodes[-1].name if nodes else "", parameters)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def inputs(self, node: Node) -> tuple[Node, ...]:
        return tuple(self[name] for name in node.inputs)

    def users(self, node: Node) -> tuple[Node, ...]:
        return self._users.get(node.name, ())

    def parameters_of(self, node: Node) -> tuple[Parameter, ...]:
        return tuple(self._parameters[name] for name in node.parameters if name in self._parameters)

    def of_role(self, *roles: Role) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.role in roles)

    @functools.cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @functools.cached_property
    def _users(self) -> dict[str, tuple[Node, ...]]:
        found: dict[str, tuple[Node, ...]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found[name] = (*found.get(name, ()), node)
        return found

    @functools.cached_property
    def _parameters(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}
