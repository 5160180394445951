"""Graph rules on probed scripts: what the run measured convicts, or acquits."""

from __future__ import annotations

import pytest

from modellint import pipeline
from modellint.core import config
from modellint.core.diagnostic import Diagnostic, Verdict

FORGETS = """
from common import *

class Forgetful(Net):
    def __init__(self):
        super().__init__()
        self.extra = nn.Linear(16, 16)

model = Forgetful()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(torch.randn(12, 8)), torch.randint(0, 5, (12,))).backward()
    optimizer.step()
"""
ALTERNATES = """
from common import *

class TwoHeads(Net):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(16, 5)

model = TwoHeads()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    optimizer.zero_grad()
    features = model.body(torch.randn(12, 8))
    nn.functional.cross_entropy(model.head(features), torch.randint(0, 5, (12,))).backward(retain_graph=True)
    nn.functional.cross_entropy(model.other(features), torch.randint(0, 5, (12,))).backward()
    optimizer.step()
"""


def findings(project, script: str, rule: str) -> list[Diagnostic]:
    run = project.probe(script)
    report = pipeline.judge(run, config.load(project.folder), source=False)
    return [diagnostic for diagnostic in report.diagnostics if diagnostic.rule == rule]


def test_a_layer_that_no_backward_reaches_is_convicted(project) -> None:
    (found,) = findings(project, FORGETS, "unused-parameter")
    assert found.verdict is Verdict.CONFIRMED
    assert found.location.module == "extra"
    assert found.location.line == project.line("class Forgetful")


@pytest.mark.parametrize("rule", ["unused-parameter", "cut-gradient"])
def test_a_layer_that_a_second_loss_reaches_is_not(project, rule: str) -> None:
    assert findings(project, ALTERNATES, rule) == []
