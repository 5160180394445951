"""Tiny scripts, probed in a process of their own; every launch costs an import of torch, so modules share them."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from modellint.measure.launch import Options, launch

TRAIN = """
import sys
import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.body(x))


def train(steps, between=lambda step: None):
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(steps):
        x, y = torch.randn(12, 8), torch.randint(0, 5, (12,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        between(step)
    print("final", loss.item().hex(), sum(p.double().sum().item() for p in model.parameters()).hex())
"""


class Project:
    """A folder of scripts, and probes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("common.py", TRAIN)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def probe(self, script: str, *arguments: str, name: str = "train.py", **options: object):
        self.write(name, script)
        return self.launch(name, *arguments, **options)

    def launch(self, *command: str, **options: object):
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            return launch(command, Options(**{"steps": 3, "start_seconds": 60, **options}))
        finally:
            os.chdir(before)

    def line(self, text: str, name: str = "train.py") -> int:
        lines = (self.folder / name).read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)

    @staticmethod
    def is_alive(pid: int) -> bool:
        """A zombie that nobody has collected yet is not."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def output(self, run) -> str:
        return (self.folder / run.folder / "output.log").read_text()


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("project"))
