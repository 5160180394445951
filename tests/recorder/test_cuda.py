"""What only a GPU shows: graphs that are captured, random numbers of its own, a default device."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained import Net, record

from modellint.recorder.session import Recorder

pytestmark = pytest.mark.cuda


def test_a_whole_step_in_a_graph():
    model, x, y = Net().cuda(), torch.randn(12, 8, device="cuda"), torch.arange(12, device="cuda") % 5
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, capturable=True)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def train():
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        for _ in range(4):
            graph.replay()

    run = record(train, steps=7)
    assert len(run.steps) == 7
    assert all(change > 0 for step in run.steps for change in step.updates.values())
    assert run.steps[-1].gradient_norm_at_step <= 1.0 + 1e-4


class Reader(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.embedding, self.read = nn.Embedding(20, 16), nn.LSTM(16, 16, 2, batch_first=True, dropout=dropout)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(16, 5)

    def forward(self, text):
        return self.head(self.drop(self.read(self.embedding(text))[0][:, -1]))


@pytest.mark.parametrize(("dropout", "examined"), [(0.0, True), (0.3, False)])
def test_a_training_that_goes_on_is_as_it_would_have_been(dropout, examined):
    """Also its random numbers, of which cuDNN keeps some to itself."""
    torch.manual_seed(0)
    start, text, y = Reader(dropout).cuda(), torch.randint(0, 20, (8, 6)).cuda(), (torch.arange(8) % 5).cuda()

    def train(watched):
        model, records = copy.deepcopy(start), []
        recorder = Recorder(records.append, steps=3)
        torch.manual_seed(1)
        if watched:
            recorder.attach()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(text), y).backward()
            optimizer.step()
        recorder.detach()
        made = [each for each in records if each["kind"] == "examination" and not each.get("reason")]
        return torch.cat([p.detach().flatten() for p in model.parameters()]), bool(made)

    (bare, _), (watched, was_examined) = train(False), train(True)
    assert torch.equal(bare, watched)
    assert was_examined is examined


def test_a_default_device():
    torch.set_default_device("cuda")
    try:
        model = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))
        x, y = torch.randn(24, 5), torch.arange(24) % 3
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def train():
            for _ in range(3):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        run = record(train)
    finally:
        torch.set_default_device(None)
    assert {each.name for each in run.examinations if each.reason} <= {"causality", "copying", "padding", "capacity"}
