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


LANGUAGE = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        return x + self.out(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))

class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.blocks = nn.Embedding(11, 16), nn.ModuleList(Block() for _ in range(2))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 11)

    def forward(self, x):
        h = self.tokens(x)
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))

model = Language()
optimizer = torch.optim.AdamW(model.parameters())
for step in range(4):
    x = torch.randint(0, 11, (4, 9))
    optimizer.zero_grad()
    for part in x.chunk(2):
        loss = nn.functional.cross_entropy(model(part[:, :-1]).flatten(0, 1), part[:, 1:].flatten()) / 2
        loss.backward()
    optimizer.step()
"""


def test_the_graph_names_the_users_lines(project) -> None:
    graph = project.probe(LANGUAGE, name="language.py").graph
    lines = {node["location"]["module"]: node["location"]["line"] for node in graph["nodes"] if node["parameters"]}
    assert lines["blocks.1.qkv"] == project.line("chunk(3", "language.py")
    assert lines["blocks.0.out"] == project.line("self.out(nn", "language.py")
    assert lines["head"] == project.line("self.head(self", "language.py")
    loss = next(node for node in graph["nodes"] if node["role"] == "loss")
    assert loss["location"] == {
        "path": "language.py",
        "line": project.line("cross_entropy", "language.py"),
        "module": None,
    }
    assert {parameter["reached"] for parameter in graph["parameters"]} == {True}
