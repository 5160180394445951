"""Which batch norms average over how many batches."""

import torch
from torch import nn
from trained import batches, classify, record


def momenta(norm, prepare=lambda model: None):
    model = nn.Sequential(nn.Linear(8, 16), norm, nn.ReLU(), nn.Linear(16, 5))
    prepare(model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    return record(lambda: classify(model, optimizer, batches(3))).model.momenta


def test_a_norm_that_is_trained():
    assert momenta(nn.BatchNorm1d(16, momentum=0.99)) == {"1": 0.99}


def test_norms_that_keep_no_running_statistics_of_their_own():
    assert momenta(nn.BatchNorm1d(16, momentum=None)) == {}
    assert momenta(nn.BatchNorm1d(16, momentum=0.99, track_running_stats=False)) == {}
    assert momenta(nn.BatchNorm1d(16, momentum=0.99), lambda model: model[1].eval()) == {}
    assert momenta(nn.BatchNorm1d(16, momentum=0.99), lambda model: model[1].requires_grad_(False)) == {}
