"""A small classifier, its batches and its training under a recorder, in process: one import of torch for all tests."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from modellint.measure import merge
from modellint.recorder.session import Recorder


def record(train, steps=3):
    """The Run of `train()` under a recorder, and its records."""
    records = []
    recorder = Recorder(records.append, steps=steps)
    recorder.attach()
    try:
        train()
    finally:
        recorder.flush()
        recorder.detach()
    assert [r["message"] for r in records if r["kind"] == "warning"] == []
    return merge.merge([records])


class Net(nn.Module):
    def __init__(self, classes=5, width=8):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, 16), nn.ReLU())
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        return self.head(self.body(x))


def batches(count, classes=5):
    return [(torch.randn(12, 8), torch.randint(0, classes, (12,))) for _ in range(count)]


def classify(model, optimizer, data, loss=F.cross_entropy, after=lambda: None):
    for x, y in data:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
        after()
