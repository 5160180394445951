"""torch_geometric: message passing of the usual kinds, on a small random graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric import nn as pyg

from .case import Case, classes

_NODES, _EDGES, _WIDTH = 20, 60, 16
_CONVOLUTIONS: dict[str, Callable[[int, int], nn.Module]] = {
    name: getattr(pyg, name)
    for name in "GCNConv SAGEConv GATConv GATv2Conv GraphConv TransformerConv ChebConv TAGConv ARMAConv LEConv".split()
}
_CONVOLUTIONS["ChebConv"] = lambda a, b: pyg.ChebConv(a, b, K=2)
_CONVOLUTIONS["GINConv"] = lambda a, b: pyg.GINConv(nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, b)))
_WHOLE: dict[str, Callable[[], nn.Module]] = {
    name: partial(getattr(pyg, name), _WIDTH, 32, 3, 5)
    for name in "GCN GraphSAGE GIN GAT PNA EdgeCNN".split()
    if name != "PNA"
}


class TwoLayers(nn.Module):
    def __init__(self, layer: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = layer(_WIDTH, 32), layer(32, 5)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.second(functional.relu(self.first(x, edge_index)), edge_index)


class WholeGraph(nn.Module):
    """A graph classifier: message passing, a sum over the nodes, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = pyg.GIN(_WIDTH, 32, 3), nn.Linear(32, 5)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.head(pyg.global_add_pool(self.body(x, edge_index), batch))


def models() -> Iterator[tuple[str, Callable[[], Case]]]:
    for name, layer in _CONVOLUTIONS.items():
        yield name, partial(_case, partial(TwoLayers, layer))
    for name, build in _WHOLE.items():
        yield name, partial(_case, build)
    yield "GIN with global_add_pool", partial(_case, WholeGraph, (torch.arange(_NODES) // 5,))


def _case(build: Callable[[], nn.Module], more: tuple[Any, ...] = ()) -> Case:
    edges = torch.randint(0, _NODES, (2, _EDGES))
    return Case(build().train(), (torch.randn(_NODES, _WIDTH), edges, *more), loss=classes)
