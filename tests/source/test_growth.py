"""No rule, and no fact that it asks for, comes to no end where names are computed from themselves."""

import inspect
import sys

import pytest

from benchmarks.growth import KINDS, grown
from modellint import pipeline
from modellint.core.config import Settings
from modellint.selftest import examples
from modellint.source import parse

STEPS = 12
MOST = 1_000_000  # calls of Python; what is in proportion to the code takes some ten thousand, at most a quarter of it
RULES = pipeline.reading(Settings())


class EndlessError(BaseException):
    """No `except Exception` on the way stops it."""


@pytest.fixture
def counted():
    """Ends what makes too many calls."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"
        if calls > MOST:
            raise EndlessError

    sys.setprofile(count)
    yield
    sys.setprofile(None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if isinstance(examples(rule.bad)[0], str)], ids=lambda r: r.name
)
def test_names_that_are_computed_from_themselves(rule, kind, counted):
    script = parse.script("example.py", grown(inspect.cleandoc(examples(rule.bad)[0]), kind, STEPS))
    assert script.problem is None
    list(rule.suspect(script))


FOLLOWING = ("scheduler-never-stepped", "optimizer-parameters")  # rules that go from function to function by themselves


@pytest.mark.parametrize(
    ("rule", "example"),
    [
        (rule, example)
        for rule in RULES
        if rule.name in FOLLOWING
        for example in (*examples(rule.bad), *examples(rule.good))
        if isinstance(example, str)
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_functions_that_hand_on_to_each_other(rule, example, counted):
    script = parse.script("example.py", grown(inspect.cleandoc(example), "functions of each other", STEPS))
    assert script.problem is None
    list(rule.suspect(script))


def test_lists_of_parameters_that_are_added_to_themselves(counted):
    lists = "\n".join(f"p_{i + 1} = p_{i} + p_{i}" for i in range(2 * STEPS))
    source = f"""
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(8, 8)
        self.head = torch.nn.Linear(8, 2)
    def forward(self, x):
        return self.head(self.body(x))
net = Net()
p_0 = list(net.head.parameters())
{lists}
optimizer = torch.optim.SGD(p_{2 * STEPS}, lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
"""
    script = parse.script("example.py", source)
    assert script.optimizers
    for rule in RULES:
        list(rule.suspect(script))
