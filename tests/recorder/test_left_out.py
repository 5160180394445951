"""What an optimizer was not given: a part that stays as it was made, behind what is trained."""

import pytest
import torch
from recorded import RULES
from torch import nn
from trained import batches, classify, record

from modellint import Diagnostic


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(8, 64), nn.Linear(64, 64), nn.Linear(64, 40)

    def forward(self, x):
        return self.head(self.body(self.stem(x).relu()).relu())


def found(*held, prepare=lambda model: None):
    """The levels of what is said where only these parts are trained."""
    model = Deep()

    def train():
        prepare(model)
        trained = [parameter for part in held for parameter in getattr(model, part).parameters()]
        classify(model, torch.optim.SGD(trained, lr=0.1), batches(4))

    said = RULES["loose-parameters"].check(record(train, steps=4))
    return [str(each.severity.value) for each in said if isinstance(each, Diagnostic)]


@pytest.mark.parametrize("held", [("stem",), ("stem", "head"), ("stem", "body")])
def test_a_part_behind_what_is_trained_is_forgotten(held):
    assert found(*held) == ["warning"]


def test_a_head_may_be_trained_on_a_body_that_stands_in_for_another():
    assert found("head") == ["note"]
    assert found("stem", "body", "head") == []


def test_what_was_loaded_or_is_moved_by_hand():
    assert found("stem", prepare=lambda model: model.load_state_dict(model.state_dict())) == ["note"]

    def moved(parameter):
        parameter.data.sub_(parameter.grad, alpha=0.1)

    def by_hand(model):
        model.head.weight.register_post_accumulate_grad_hook(moved)

    assert found("stem", "body", prepare=by_hand) == ["note"]
