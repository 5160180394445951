"""What a GPU would refuse without a word is told with its number; what it takes is not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modellint.recorder import bounds
from modellint.recorder.session import Recorder


@pytest.fixture
def refused(monkeypatch):
    """The messages of a step that is made as on a device that tells of failures late."""
    monkeypatch.setattr(bounds, "is_late", lambda tensor: True)

    def run(act):
        records = []
        recorder = Recorder(records.append)
        recorder.attach()
        try:
            model = nn.Linear(2, 2)
            recorder.add(torch.optim.SGD(model.parameters(), lr=0.1))
            act()
        except (IndexError, RuntimeError):  # as a CPU refuses it
            pass
        finally:
            recorder.detach()
        assert [each for each in records if each["kind"] == "warning"] == []
        return [each["message"] for each in records if each["kind"] == "refused"]

    return run


SCORES = torch.randn(4, 3)
WRONG = {
    "a label is 3, and there are 3 classes": lambda: F.cross_entropy(SCORES, torch.tensor([0, 1, 3, 2])),
    "a label is -1, and there are 3 classes": lambda: nn.NLLLoss()(SCORES, torch.tensor([0, 1, -1, 2])),
    "an index is 9, and the embedding has 5 rows": lambda: nn.Embedding(5, 2)(torch.tensor([[0, 9]])),
    "binary_cross_entropy is given 1.5, which is no probability": lambda: F.binary_cross_entropy(
        torch.tensor([0.5, 1.5]), torch.tensor([0.0, 1.0])
    ),
}
RIGHT = {
    "ignored": lambda: F.cross_entropy(SCORES, torch.tensor([0, 1, -100, 2])),
    "ignored by name": lambda: F.cross_entropy(SCORES, torch.tensor([0, 1, 255, 2]), ignore_index=255),
    "dense": lambda: F.cross_entropy(torch.randn(2, 3, 4, 4), torch.full((2, 4, 4), 2)),
    "one sample": lambda: F.cross_entropy(torch.randn(3), torch.tensor(2)),
    "soft targets": lambda: F.cross_entropy(SCORES, SCORES.softmax(-1)),
    "the last row": lambda: nn.Embedding(5, 2)(torch.tensor([4])),
    "probabilities": lambda: F.binary_cross_entropy(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])),
}


@pytest.mark.parametrize("message", WRONG)
def test_out_of_range(refused, message):
    assert refused(WRONG[message]) == [message]


@pytest.mark.parametrize("name", RIGHT)
def test_in_range(refused, name):
    assert refused(RIGHT[name]) == []


def test_a_cpu_says_it_itself():
    assert not bounds.is_late(SCORES)
