"""softmax-before-loss on steps that were recorded, not written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modellint import Graph, Severity
from modellint.core import registry
from modellint.core.diagnostic import Diagnostic
from modellint.core.plain import from_plain
from modellint.recorder.capture import Capture

RULE = next(rule for rule in registry.load() if rule.name == "softmax-before-loss")
Y = torch.tensor([0, 1, 2, 0])


def findings(loss: Callable[[Tensor, Tensor], Tensor]) -> list[Diagnostic]:
    student, teacher, capture = nn.Linear(8, 3), nn.Linear(8, 3), Capture()
    capture.start()
    x = torch.randn(4, 8)
    value = loss(student(x), teacher(x))
    plain = capture.finish(value, {id(p): n for n, p in student.named_parameters()}, student)
    return [found for found in RULE.check(from_plain(Graph, plain)) if isinstance(found, Diagnostic)]


@pytest.mark.parametrize(
    "loss",
    [
        lambda s, _: F.cross_entropy(s.softmax(-1), Y),
        lambda s, _: nn.CrossEntropyLoss()(nn.Softmax(dim=1)(s).clone(), Y),
        lambda s, _: F.nll_loss(F.log_softmax(torch.softmax(s, 1), 1), Y),
        lambda s, _: F.nll_loss(F.softmax(s, 1), Y),
        lambda s, t: F.cross_entropy(s, Y) + F.cross_entropy(F.softmax(t, 1), Y),
    ],
)
def test_probabilities_as_scores(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    (found,) = findings(loss)
    assert found.level is Severity.ERROR
    assert (found.location.path or "").endswith("test_softmax.py")


def test_a_second_log_softmax_is_a_note() -> None:
    (found,) = findings(lambda s, _: F.cross_entropy(s.log_softmax(-1), Y))
    assert found.level is Severity.NOTE


@pytest.mark.parametrize(
    "loss",
    [
        lambda s, _: F.nll_loss(s.log_softmax(-1), Y),
        lambda s, _: F.nll_loss(torch.log(s.softmax(-1) + 1e-9), Y),
        lambda s, _: F.cross_entropy(s, Y) + 0 * s.softmax(-1).detach().max(),
        lambda s, t: F.cross_entropy(s, t.softmax(-1).detach()),
        lambda s, t: (
            F.kl_div(F.log_softmax(s / 2, 1), F.softmax(t / 2, 1), reduction="batchmean") + F.cross_entropy(s, Y)
        ),
        lambda s, t: F.cross_entropy((s @ t.T).softmax(-1) @ t, Y),
    ],
)
def test_softmax_in_its_place(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert findings(loss) == []
