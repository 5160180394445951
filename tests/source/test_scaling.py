"""What reading costs, counted in calls, is in proportion to what is read."""

import inspect
import sys

import pytest

from benchmarks import scaling
from modellint import pipeline
from modellint.core.config import Settings
from modellint.selftest import examples
from modellint.source import parse

STEEPEST = 2.7  # times the calls for twice the code; with twice in some part of them it is 4
PARTS = 60
KINDS = (
    "elif arms, assignments", "elif arms, calls of functions", "elif arms that return",
    "match arms", "nested ifs", "nested fors", "statements, of one name", "statements, of one attribute",
    "assignments of one name, all used", "functions of one name", "models", "layers of a list", "optimizers",
    "loops", "callers of one function", "files by themselves", "files in a circle",
)  # fmt: skip
RULES = [rule for rule in pipeline.reading(Settings()) if isinstance(examples(rule.bad)[0], str)]
BESIDE = 20
UNRELATED = """
def part_%(i)s(x_%(i)s, y_%(i)s, net_%(i)s):
    total_%(i)s = []
    for a_%(i)s, b_%(i)s in zip(x_%(i)s, y_%(i)s):
        if a_%(i)s > 0:
            total_%(i)s.append(net_%(i)s(a_%(i)s) - b_%(i)s * 2)
        else:
            c_%(i)s = torch.relu(a_%(i)s).clamp(0, 1)[0]
            total_%(i)s += [c_%(i)s.mean(dim=1)]
    return torch.stack(total_%(i)s).sum()

class Part%(i)s(torch.nn.Module):
    def __init__(self, n_%(i)s):
        super().__init__()
        self.layer_%(i)s = torch.nn.Linear(n_%(i)s, n_%(i)s)

    def forward(self, x_%(i)s):
        return self.layer_%(i)s(x_%(i)s)
"""


@pytest.fixture(scope="module")
def rules():
    return pipeline.reading(Settings())


def counted(work):
    """The calls of Python that it makes."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def calls(kind, n, rules):
    made = scaling.KINDS[kind](n)
    return counted(lambda: scaling.seconds(made, rules, Settings()))


@pytest.mark.parametrize("kind", KINDS)
def test_twice_as_much_takes_twice_as_long(kind, rules):
    few = PARTS // 5 if kind.startswith("files") else PARTS
    scaling.seconds(scaling.KINDS[kind](few), rules, Settings())  # what is asked and kept for names, once
    assert calls(kind, 2 * few, rules) < STEEPEST * calls(kind, few, rules)


def beside(rule, n):
    """The calls of a rule for its example beside functions and classes that have nothing to do with it."""
    example = inspect.cleandoc(examples(rule.bad)[0])
    script = parse.script("example.py", "\n".join(["import torch", example, *(UNRELATED % {"i": i} for i in range(n))]))
    return counted(lambda: list(rule.suspect(script)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_what_a_rule_has_nothing_to_do_with_is_looked_at_once(rule):
    beside(rule, 1)
    assert beside(rule, 2 * BESIDE) < 2.3 * beside(rule, BESIDE)
