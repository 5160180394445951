"""A forked run measures what a run of its own does; where a command cannot be forked, it says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modellint.measure.forks import Forks
from modellint.measure.launch import Options, launch

SCRIPT = """
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(8):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(torch.randn(16, 4)), torch.randint(0, 3, (16,)))
    loss.backward()
    optimizer.step()
    open("kept.txt", "w").close() if ILL else None
"""
SEEDED = {"MODELLINT_SEED": "0", "PYTHONHASHSEED": "0"}


@pytest.fixture
def forks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = []

    def start(script, options):
        (tmp_path / "train.py").write_text(script)
        opened.append(Forks(["train.py"], options))
        return replace(options, start=opened[-1].start)

    yield start
    for each in opened:
        each.close()


def test_forks_are_equal_to_a_run_of_their_own_and_to_each_other(forks):
    options = Options(steps=5, environment=SEEDED)
    forked = forks(SCRIPT.replace("ILL", "False"), options)
    assert forked.start is not None
    runs = [launch(["train.py"], forked), launch(["train.py"], forked), launch(["train.py"], options)]
    assert [run.status for run in runs] == ["completed"] * 3
    losses = [[step.loss for step in run.steps] for run in runs]
    assert losses[0] == losses[1] == losses[2]
    assert len(losses[0]) == 5
    other = launch(["train.py"], replace(forked, environment={**SEEDED, "MODELLINT_SEED": "1"}))
    assert other.steps[0].loss != runs[0].steps[0].loss


def test_a_fork_stops_before_it_overwrites_a_file(forks, tmp_path):
    (tmp_path / "kept.txt").write_text("precious")
    run = launch(["train.py"], forks(SCRIPT.replace("ILL", "True"), Options(environment=SEEDED)))
    assert run.status == "stopped"
    assert "kept.txt" in run.problem.message
    assert (tmp_path / "kept.txt").read_text() == "precious"


def test_a_crash_is_told_with_its_line(forks):
    run = launch(["train.py"], forks("import torch\n\nraise ValueError('no data')\n", Options(environment=SEEDED)))
    assert run.status == "failed"
    assert run.problem.location.line == 3


def test_a_script_without_torch_cannot_be_forked(forks):
    assert forks("print('nothing to train')\n", Options()).start is None
