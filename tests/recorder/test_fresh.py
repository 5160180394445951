"""Which frozen weights are still as they were made."""

import copy

import pytest
import torch
from torch import nn
from trained import batches, classify, record

from modellint.recorder.fresh import is_fresh


def frozen(model):
    model.body.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    run = record(lambda: classify(model, torch.optim.SGD(trained, lr=0.1), batches(3)))
    return {parameter.name for parameter in run.parameters if parameter.fresh}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(8, 200), nn.ReLU(), nn.Linear(200, 50)), nn.Linear(50, 5)

    def forward(self, x):
        return self.head(self.body(x))


@pytest.mark.parametrize("fill", [nn.init.kaiming_uniform_, nn.init.kaiming_normal_, nn.init.orthogonal_])
def test_every_initialisation_is_known(fill):
    assert is_fresh(fill(torch.empty(200, 300)))


@pytest.mark.parametrize("layer", [nn.Conv2d(16, 32, 3), nn.Embedding(100, 32), nn.LSTM(32, 16), nn.Bilinear(8, 8, 20)])
def test_every_layer_of_torch_is_known(layer):
    assert all(is_fresh(weight) for weight in layer.parameters() if weight.dim() > 1)


def test_what_was_trained_or_written_is_not_fresh():
    weight = torch.randn(100, 100)
    assert not is_fresh(weight + 3 * (torch.arange(10_000).reshape(100, 100) % 7 == 0))  # a few entries have grown
    assert not is_fresh(torch.arange(2000.0).sin().square())
    assert not is_fresh(torch.ones(50, 50))
    assert not is_fresh(torch.randn(5, 5))  # too few to tell


def test_a_frozen_body():
    assert frozen(Net()) == {"body.0.weight", "body.2.weight"}


def test_a_body_that_was_trained_or_loaded_before():
    model = Net()

    def twice():
        classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(2))
        model.body.requires_grad_(False)
        classify(model, torch.optim.SGD(model.head.parameters(), lr=0.1), batches(3))

    assert not any(parameter.fresh for parameter in record(twice).parameters)

    def loaded():
        model = Net()
        model.load_state_dict(copy.deepcopy(model.state_dict()))
        model.body.requires_grad_(False)
        classify(model, torch.optim.SGD(model.head.parameters(), lr=0.1), batches(3))

    assert not any(parameter.fresh for parameter in record(loaded).parameters)


def test_what_is_frozen_at_zero():
    model = Net()
    nn.init.zeros_(model.body[2].weight)
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    run = record(lambda: classify(model, torch.optim.SGD(model.head.parameters(), lr=0.1), batches(3)))
    assert [parameter.name for parameter in run.parameters if parameter.zero_initialised] == ["body.2.weight"]
