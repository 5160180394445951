"""Rules about what the loss is given, on steps that were really run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from recorded import Case, findings
from torch import Tensor, nn

from modellint import Severity

X, Y = torch.randn(8, 12), torch.arange(8) % 3
SIGNED, COUNTS = torch.randn(8, 3), torch.randn(8, 3).abs()


def step(last: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor], width: int = 3) -> Case:
    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model = nn.Linear(12, width)
        return model, lambda: loss(last(model(X)))

    return case


def classes(output: Tensor) -> Tensor:
    return F.cross_entropy(output, Y)


CUT = {
    "relu before cross entropy": step(nn.ReLU(), classes),
    "relu in place before the loss module": step(nn.ReLU(inplace=True), lambda o: nn.CrossEntropyLoss()(o, Y)),
    "clamp before log_softmax": step(
        lambda o: F.log_softmax(o.clamp(min=0), dim=1), lambda o: nn.NLLLoss()(o, Y)
    ),
    "tanh": step(torch.tanh, classes),
    "sigmoid twice": step(torch.sigmoid, lambda o: F.binary_cross_entropy_with_logits(o, COUNTS.clamp(max=1))),
    "relu on signed targets": step(F.relu, lambda o: F.mse_loss(o, SIGNED)),
    "sigmoid on signed targets, loss by hand": step(torch.sigmoid, lambda o: ((o - SIGNED) ** 2).mean()),
    "absolute error by hand": step(nn.ReLU(), lambda o: (SIGNED - o).abs().mean()),
    "dropout": step(nn.Dropout(0.3), classes),
    "dropout in a function before log_softmax": step(
        lambda o: F.log_softmax(F.dropout(o, 0.3), dim=1), lambda o: F.nll_loss(o, Y)
    ),
}  # fmt: skip
WHOLE = {
    "scores": step(nn.Identity(), classes),
    "a dropout that is off": step(lambda o: F.dropout(o, 0.3, training=False), classes),
    "dropped features": step(lambda o: F.linear(F.dropout(o, 0.3), torch.eye(3)), classes),
    "leaky": step(nn.LeakyReLU(), classes),
    "soft capping": step(lambda o: 30 * torch.tanh(o / 30), classes),
    "pooled behind a relu": step(
        lambda o: F.adaptive_avg_pool1d(F.relu(o.unsqueeze(-1)), 1).squeeze(-1), classes
    ),
    "negative distances": step(lambda o: -o.square(), classes),
    "counts": step(nn.Softplus(), lambda o: F.mse_loss(o, COUNTS)),
    "relu on prices": step(F.relu, lambda o: F.smooth_l1_loss(o, COUNTS)),
    "tanh on pixels in -1..1": step(torch.tanh, lambda o: F.l1_loss(o, SIGNED.tanh())),
    "probabilities": step(torch.sigmoid, lambda o: F.binary_cross_entropy(o, COUNTS.clamp(max=1))),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_an_activation_that_cuts_the_output(name: str) -> None:
    (found,) = findings("activation-on-output", CUT[name])
    assert found.level is Severity.WARNING
    assert (found.location.path or "").endswith("test_outputs.py")


@pytest.mark.parametrize("name", WHOLE)
def test_outputs_that_can_be_what_is_asked(name: str) -> None:
    assert findings("activation-on-output", WHOLE[name]) == []


FLAT, COLUMN = torch.randn(8), torch.randn(8, 1)
SPREAD = {
    "loss function": step(nn.Identity(), lambda o: F.mse_loss(o, FLAT), 1),
    "loss module": step(nn.Identity(), lambda o: nn.SmoothL1Loss()(o, FLAT), 1),
    "squared by hand": step(nn.Identity(), lambda o: ((o - FLAT) ** 2).mean(), 1),
    "absolute by hand": step(nn.Identity(), lambda o: torch.abs(FLAT - o).sum(), 1),
    "flat output": step(lambda o: o.squeeze(1), lambda o: F.l1_loss(o, COLUMN), 1),
}
PAIRED = {
    "same shape": step(nn.Identity(), lambda o: F.mse_loss(o, COLUMN), 1),
    "squeezed": step(lambda o: o.squeeze(1), lambda o: ((o - FLAT) ** 2).mean(), 1),
    "one number for all": step(nn.Identity(), lambda o: F.mse_loss(o, torch.ones(1)), 1),
    "one vector for all": step(nn.Identity(), lambda o: ((o - torch.randn(3)) ** 2).mean()),
    "all pairs on purpose": step(
        nn.Identity(), lambda o: F.smooth_l1_loss(o.unsqueeze(1), SIGNED.unsqueeze(2), reduction="sum")
    ),
    "kernel of distances": step(nn.Identity(), lambda o: (o.unsqueeze(0) - o.unsqueeze(1)).square().mean()),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", SPREAD)
def test_shapes_that_are_broadcast_to_all_pairs(name: str) -> None:
    (found,) = findings("loss-shape-broadcast", SPREAD[name])
    assert found.level is Severity.ERROR
    assert "[8, 1]" in found.message


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", PAIRED)
def test_shapes_that_fit(name: str) -> None:
    assert findings("loss-shape-broadcast", PAIRED[name]) == []
