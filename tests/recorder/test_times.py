"""Time steps that a model is given with its samples."""

import torch
from torch import nn
from torch.nn import functional as F
from trained import record


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.body = nn.Embedding(50, 8), nn.Linear(12, 4)

    def forward(self, x, t):
        return self.body(torch.cat([x, self.table(t)], 1))


class Process(nn.Module):
    """Draws the time itself, and gives it by name."""

    def __init__(self, draw):
        super().__init__()
        self.net, self.draw = Denoiser(), draw

    def forward(self, x):
        noise = torch.randn_like(x)
        return F.mse_loss(self.net(x + noise, t=self.draw(len(x))), noise)


def times(model, loss):
    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    steps = record(train, steps=4).steps
    assert steps[0].times is None  # before the model was known
    return steps[-1]


def test_times_that_a_wrapped_model_is_given():
    some, none = Process(lambda n: torch.arange(n) + 1), Process(lambda n: torch.zeros(n).long())
    found = times(some, lambda: some(torch.randn(32, 4)))
    assert (found.times.samples, found.times.low, found.times.high, found.times.whole) == (32, 1.0, 32.0, True)
    assert (2 < found.pair.kurtosis < 4, found.times.shaped, found.times.echoes) == (True, True, False)
    assert times(none, lambda: none(torch.randn(32, 4))).times.high == 0.0


def test_what_is_asked_for_what_it_is_given():
    def copied(x):
        return F.mse_loss(model(x, torch.arange(32)), x)

    model = Denoiser()
    assert times(model, lambda: copied(torch.randn(32, 4))).times.echoes
    assert times(model, lambda: copied(torch.rand(32, 4))).pair.kurtosis < 2.3


def test_a_time_is_one_number_for_each_sample():
    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(5, 4)

        def forward(self, x, t):
            return self.body(torch.cat([x, t], 1)).square().mean()

    model = Field()
    assert times(model, lambda: model(torch.randn(32, 4), torch.zeros(32, 1))).times is None


def test_an_outcome_has_not_the_shape_of_what_it_is_told_from():
    model, head = Denoiser(), nn.Linear(4, 1)
    parts = nn.ModuleList([model, head])
    step = times(parts, lambda: F.mse_loss(head(model(torch.randn(32, 4), torch.arange(32))), torch.randn(32, 1)))
    assert not step.times.shaped
