"""What a rule says of one step of a model that was really run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from modellint import Graph
from modellint.core import registry
from modellint.core.diagnostic import Diagnostic
from modellint.core.plain import from_plain
from modellint.recorder.capture import Capture

RULES = {rule.name: rule for rule in registry.load()}
Case = Callable[[], tuple[nn.Module, Callable[[], Tensor]]]


def graph(case: Case) -> Graph:
    torch.manual_seed(0)
    model, loss = case()
    capture = Capture()
    capture.start()
    plain = capture.finish(loss(), {id(p): n for n, p in model.named_parameters()}, model)
    assert [repr(error) for error in capture.errors] == []
    assert plain is not None
    return from_plain(Graph, plain)


def findings(rule: str, case: Case) -> list[Diagnostic]:
    return [found for found in RULES[rule].check(graph(case)) if isinstance(found, Diagnostic)]
