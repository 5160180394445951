"""The five faults of a failing classifier, in scripts of different styles, are all found by reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from modellint import pipeline
from modellint.core import config
from modellint.core.diagnostic import Severity

HEAD = "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"
FAULTS = {
    "missing-zero-grad": Severity.ERROR,
    "clip-before-backward": Severity.ERROR,
    "softmax-into-cross-entropy": Severity.ERROR,
    "large-learning-rate": Severity.NOTE,
    "readout-without-norm": Severity.NOTE,
}
NET = """
class Net(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.body = nn.Linear(20, width)
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        return self.head(F.relu(self.body(x)))
"""
SCRIPTS = {
    "script": """
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
for x, y in torch.load("batches.pt"):
    loss = F.cross_entropy(model(x).softmax(-1), y)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    loss.backward()
    optimizer.step()
""",
    "functions and options": NET
    + """
import argparse

def epoch(args, net, loader, optimizer):
    for x, y in loader:
        scores = net(x)
        loss = F.cross_entropy(scores.softmax(-1), y)
        nn.utils.clip_grad_norm_(net.parameters(), args.clip)
        loss.backward()
        optimizer.step()

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--clip", type=float, default=1.0)
    args = parser.parse_args()
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
    for _ in range(10):
        epoch(args, net, torch.load("batches.pt"), optimizer)

main()
""",
    "class": NET
    + """
class Trainer:
    def __init__(self, net, rate=0.1):
        self.net = net
        self.optimizer = torch.optim.Adam(net.parameters(), rate)

    def clip(self):
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)

    def update(self, x, y):
        loss = F.cross_entropy(self.net(x).softmax(-1), y)
        self.clip()
        loss.backward()
        self.optimizer.step()

    def fit(self, batches):
        for x, y in batches:
            self.update(x, y)

Trainer(Net()).fit(torch.load("batches.pt"))
""",
    "while": """
RATE, STEPS = 1e-1, 1000
inputs, labels = torch.load("data.pt")
net = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.Linear(64, 5))
opt = torch.optim.Adam(params=net.parameters(), lr=RATE)
step = 0
while step < STEPS:
    rows = torch.randint(0, len(inputs), (32,))
    loss = F.cross_entropy(net(inputs[rows]).softmax(-1), labels[rows])
    nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    loss.backward()
    opt.step()
    step += 1
""",
}
LINKED = {
    "network.py": HEAD + NET.replace("self.body(x)))", "self.body(x))).softmax(-1)"),
    "helpers.py": HEAD
    + """
def loss_of(outputs, labels):
    return F.cross_entropy(outputs, labels)

def clip(parameters, limit=1.0):
    nn.utils.clip_grad_norm_(parameters, limit)
""",
    "train.py": """
import torch
from helpers import clip, loss_of
from network import Net

net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
for x, y in torch.load("batches.pt"):
    loss = loss_of(net(x), y)
    clip(net.parameters())
    loss.backward()
    optimizer.step()
""",
}
PROJECTS = {style: {"train.py": HEAD + text} for style, text in SCRIPTS.items()} | {"three files": LINKED}


@pytest.mark.parametrize("style", PROJECTS)
def test_all_five_are_found(tmp_path: Path, style: str) -> None:
    for name, text in PROJECTS[style].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    report = pipeline.check(sorted(tmp_path.glob("*.py")), config.load(tmp_path))
    assert {d.rule: d.level for d in report.diagnostics} == FAULTS
