"""unused-parameter on steps that were really run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from recorded import Case, findings
from torch import Tensor, nn

from modellint.core.diagnostic import Diagnostic

X, Y = torch.randn(8, 12), torch.arange(8) % 3


def classify(build: Callable[[], nn.Module]) -> Case:
    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model = build()
        return model, lambda: F.cross_entropy(model(X), Y)

    return case


class Net(nn.Module):
    """A body, a head, and what else there is; `forward` is given."""

    def __init__(self, run: Callable[[Net, Tensor], Tensor], **others: nn.Module) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(12, 16), nn.LayerNorm(16), nn.Linear(16, 3)
        self.scale, self.run = nn.Parameter(torch.ones(16)), run
        for name, module in others.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def plain(net: Net, x: Tensor) -> Tensor:
    return net.head(net.norm(net.body(x)).relu() * net.scale)


def overwritten(net: Net, x: Tensor) -> Tensor:
    h = net.body(x)
    net.norm(h)
    return net.head(h.relu() * net.scale)


def routed(net: Net, x: Tensor) -> Tensor:
    experts = net.experts
    return net.head(experts[0](net.norm(net.body(x))).relu() * net.scale)


UNUSED = {
    "forgotten": (classify(lambda: Net(plain, extra=nn.Linear(16, 16))), "extra"),
    "overwritten": (classify(lambda: Net(overwritten)), "norm"),
    "functions": (classify(lambda: Net(lambda net, x: net.head(F.relu(F.layer_norm(net.body(x), (16,)) * net.scale)))), "norm"),
    "by hand": (classify(lambda: Net(lambda net, x: net.head(net.norm(net.body(x)).relu()))), "scale"),
    "whole list": (classify(lambda: Net(plain, blocks=nn.ModuleList(nn.Linear(16, 16) for _ in range(3)))), "blocks"),
}  # fmt: skip


def frozen() -> nn.Module:
    return Net(plain, teacher=nn.Linear(16, 16).requires_grad_(False))


def tied() -> nn.Module:
    net = Net(plain, copy=nn.Linear(12, 16))
    net.copy.weight, net.copy.bias = net.body.weight, net.body.bias
    return net


USED = {
    "all": classify(lambda: Net(plain)),
    "frozen": classify(frozen),
    "tied": classify(tied),
    "weight norm": classify(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(12, 3))),
    "recurrent": classify(lambda: nn.Sequential(nn.LSTM(12, 8, 2, bidirectional=True), First(), nn.Linear(16, 3))),
}


class First(nn.Module):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0]


def all_findings(case: Case) -> list[Diagnostic]:
    return findings("unused-parameter", case)


@pytest.mark.parametrize("name", UNUSED)
def test_parameters_that_never_reach_the_loss(name: str) -> None:
    case, owner = UNUSED[name]
    found = all_findings(case)
    assert owner in found[0].message
    assert (found[0].location.path or "").endswith("test_unused.py")
    assert not found[0].verdict.convicts, "another backward() of the run may reach them"


@pytest.mark.parametrize("name", USED)
def test_parameters_that_reach_it(name: str) -> None:
    assert all_findings(USED[name]) == []


def test_an_expert_that_no_sample_chose_is_noted_as_a_branch() -> None:
    experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
    found = all_findings(classify(lambda: Net(routed, experts=experts)))
    assert {diagnostic.location.module for diagnostic in found} == {"experts.1", "experts.2"}
    assert all("branch" in diagnostic.message for diagnostic in found)
