"""Healthy networks of unusual build are recorded whole, and no rule raises its voice over them."""

from __future__ import annotations

import pytest
import torch
from recorded import RULES, graph
from torch import Tensor, nn
from unusual import HEALTHY, ROWS, Ensemble, step

from modellint import GraphRule, Severity
from modellint.core.diagnostic import Diagnostic
from modellint.graph.node import Role
from modellint.graph.walk import learned_parameters


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HEALTHY)
def test_an_unusual_network(name: str) -> None:
    model, loss = HEALTHY[name]()
    found = graph(lambda: (model, loss))
    rules = [rule for rule in RULES.values() if isinstance(rule, GraphRule)]
    told = [each for rule in rules for each in rule.check(found) if isinstance(each, Diagnostic)]
    assert [(each.rule, each.message) for each in told if each.level is not Severity.NOTE] == []
    loss().backward()
    learned = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learned_parameters(found) == learned


def test_what_happens_out_of_sight_is_not_guessed() -> None:
    (mapped,) = graph(step(Ensemble)).of_role(Role.OTHER)
    assert mapped.operation == "unseen"
    assert set(mapped.parameters) == {"first", "second"}


def test_what_happens_out_of_sight_stays_between_what_is_seen() -> None:
    @torch.jit.script
    def activation(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(12, 8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.body(x)
            return self.head(activation(hidden))

    found = graph(step(Net, ROWS))
    (hidden,) = found.of_role(Role.OTHER)
    assert [node.location.module for node in found.inputs(hidden)] == ["body"]


def test_compiled_functions_run_as_they_are_written() -> None:
    @torch.compile(fullgraph=True, backend="eager")
    def activation(x: Tensor) -> Tensor:
        return x.relu() * 2

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(12, 8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(activation(self.body(x)))

    operations = [node.operation for node in graph(step(Net, ROWS)) if node.gradient]
    assert operations == ["linear", "relu", "mul", "linear", "cross_entropy"]
