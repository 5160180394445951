"""Moves of the weights between the two passes of a step."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained import batches, record

RADIUS = 0.05


def steps(between):
    """What is seen of three steps of two passes, with `between(parameters)` after the first."""

    def train():
        net = nn.Sequential(nn.Embedding(7, 8), nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 5))
        tokens = torch.randint(0, 7, (12, 4))
        net(tokens)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _, y in batches(3):
            optimizer.zero_grad()
            F.cross_entropy(net(tokens), y).backward()
            undo = between(list(net.parameters()))
            F.cross_entropy(net(tokens), y).backward()
            undo()
            optimizer.step()

    return [step.climbs for step in record(train).steps]


def moved(parameters, moves, *, clears=False):
    with torch.no_grad():
        for parameter, move in zip(parameters, moves, strict=True):
            parameter += move
    if clears:
        for parameter in parameters:
            parameter.grad = None

    def undo():
        with torch.no_grad():
            for parameter, move in zip(parameters, moves, strict=True):
                parameter -= move

    return undo


def climb(parameters, **options):
    norm = torch.stack([p.grad.norm() for p in parameters]).norm()
    return moved(parameters, [RADIUS / norm * p.grad for p in parameters], **options)


def attack(parameters):
    """Of the embedding alone."""
    return moved(parameters[:1], [RADIUS / parameters[0].grad.norm() * parameters[0].grad])


def perturb(parameters):
    """Of each layer by its own measure."""
    return moved(parameters, [0.01 * p.norm() / p.grad.norm() * p.grad for p in parameters])


def descend(parameters):
    return moved(parameters, [-0.1 * p.grad for p in parameters])


def scale(parameters):
    """For a mean of the gradients here and there."""
    undo = climb(parameters)
    for parameter in parameters:
        parameter.grad *= 0.2
    return undo


def test_gradients_that_led_up_are_still_there():
    assert [first for first, _ in steps(climb)] == [None] * 3
    assert [second for _, second in steps(climb)] == pytest.approx([RADIUS] * 3, rel=1e-3)


@pytest.mark.parametrize(
    "between",
    [lambda p: climb(p, clears=True), attack, perturb, descend, scale, lambda p: lambda: None],
    ids=["cleared", "attack", "perturb", "descend", "scale", "nothing"],
)
def test_what_is_no_such_ascent(between):
    assert steps(between) == [(None, None)] * 3


def test_gradients_that_only_showed_the_way():
    def train():
        net = nn.Linear(8, 5)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in batches(3):
            F.cross_entropy(net(x), y).backward()
            undo = climb(list(net.parameters()))
            F.cross_entropy(net(x), y).backward()
            undo()
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()

    assert [step.climbs for step in record(train).steps] == [(None, None, None)] * 3
