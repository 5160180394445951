"""Steps within a CUDA graph, with a graph that replays on the host what was called while it was captured."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained import Net, batches, record


class Captured:
    """`torch.cuda.CUDAGraph` of a function: `capture` calls it once, `replay` again."""

    def __init__(self, act):
        self.act, self.capturing = act, False

    def capture(self):
        self.capturing = True
        self.act()
        self.capturing = False

    def replay(self):
        self.capturing = True  # what a graph makes passes no hook
        self.act()
        self.capturing = False


@pytest.fixture
def graph(monkeypatch):
    """Makes a graph of a function; what reads a tensor while it is captured is an error, as on a GPU."""
    made = []

    def is_capturing():
        return any(graph.capturing for graph in made)

    def read(tensor, *_):
        assert not is_capturing(), "a transfer ends the capture"
        return original(tensor)

    original = torch.Tensor.item
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", is_capturing)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Captured)
    monkeypatch.setattr(torch.Tensor, "item", read)

    def make(act):
        made.append(Captured(act))
        return made[-1]

    return make


def whole_step(model, x, y, optimizer):
    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def test_a_capture_is_no_step_and_each_replay_is_one(graph):
    model, ((x, y),) = Net(), batches(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train():
        step = whole_step(model, x, y, optimizer)
        for _ in range(2):
            step()
        graphed = graph(step)
        graphed.capture()
        for _ in range(4):
            graphed.replay()

    run = record(train, steps=5)
    assert len(run.steps) == 5
    assert all(change > 0 for step in run.steps for change in step.updates.values())
    last = run.steps[-1]
    assert last.loss is None
    assert 0 < last.gradient_norm_at_step <= 1.0 + 1e-5


def test_a_graph_without_a_step_is_not_counted(graph):
    model, ((x, y),) = Net(), batches(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train():
        whole_step(model, x, y, optimizer)()
        evaluated = graph(lambda: model(x))
        evaluated.capture()
        evaluated.replay()

    assert len(record(train).steps) == 1
