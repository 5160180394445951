"""What comes to no end is given up, and the rest is told."""

from modellint import pipeline
from modellint.core import effort
from modellint.core.diagnostic import Unchecked
from modellint.core.rule import SourceRule
from modellint.source import parse

TRAINING = """
import torch
from torch import nn
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""


class Circles(SourceRule):
    """Follows a name that is bound to a call of itself."""

    name, code = "circles", "ML999"

    def check(self, script):
        value = next(script.calls)
        while value.receiver is not None:
            value = value.receiver.receiver or value
        yield self.at(value, "came to an end")


def test_a_rule_that_comes_to_no_end_is_a_check_that_could_not_be_made():
    script = parse.script("train.py", "x.exp().log().exp()")
    found = list(pipeline.suspicions([script], [Circles()]))
    assert [type(each) for each in found] == [Unchecked]
    assert "circles" in found[0].reason
    assert "given up" in found[0].reason


def test_facts_that_come_to_no_end_are_not_there(monkeypatch):
    assert parse.script("train.py", TRAINING).training_loops
    monkeypatch.setattr(effort, "MOST", 2)
    script = parse.script("train.py", TRAINING)
    assert script.functions
    assert not script.training_loops
    assert not script.problem
