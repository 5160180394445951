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
