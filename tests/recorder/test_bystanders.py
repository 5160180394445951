"""Networks that are asked in steps, and not trained."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained import batches, classify, record


def network(width):
    return nn.Sequential(nn.Linear(8, width), nn.Dropout(0.5), nn.Linear(width, 5))


def asked(student, teacher):
    """What is seen of a teacher that a student follows for three steps."""

    def loss(scores, labels):
        with torch.no_grad():
            wanted = teacher(x)
        return F.cross_entropy(scores, labels) + F.mse_loss(scores, wanted)

    x, _ = batches(1)[0]
    run = record(lambda: classify(student, torch.optim.SGD(student.parameters(), lr=0.1), batches(3), loss))
    assert all(step.batch.shape in found.shapes for step in run.steps for found in run.bystanders)
    return [(found.name, found.dropouts, found.steps, found.location.path) for found in run.bystanders]


def test_a_teacher_in_training_mode():
    assert asked(network(16), network(32)) == [("Sequential", ("1",), 3, "tests/recorder/test_bystanders.py")]


@pytest.mark.parametrize("make", [copy.deepcopy, lambda student: network(32).eval(), lambda student: nn.Linear(8, 5)])
def test_what_is_no_such_teacher(make):
    student = network(16)
    assert asked(student, make(student)) == []


class Drawn(nn.Module):
    """The mean of two answers, with other units dropped."""

    def __init__(self, network):
        super().__init__()
        self.network = [network]

    def forward(self, x):
        return (self.network[0](x) + self.network[0](x)) / 2


def test_draws_are_noisy_on_purpose():
    assert asked(network(16), Drawn(network(32))) == []


def test_what_the_model_is_given_comes_from_no_teacher():
    front, student = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)).requires_grad_(False), network(16)

    def train():
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        for x, y in batches(4):
            optimizer.zero_grad()
            F.cross_entropy(student(front(x)), y).backward()
            optimizer.step()

    assert record(train).bystanders == ()
