"""Rules about layers in a row, on models that were really run: a module, functions, and operations written by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from recorded import Case, findings
from torch import Tensor, nn

from modellint import Severity

X, Y = torch.randn(8, 12), torch.arange(8) % 3


def classifier(*layers: nn.Module) -> Case:
    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model = nn.Sequential(*layers)
        return model, lambda: F.cross_entropy(model(X), Y)

    return case


class Functional(nn.Module):
    """Two weights and what happens to the features between them."""

    def __init__(self, between: Callable[[Tensor], Tensor], product: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(16, 12) / 4), nn.Parameter(torch.randn(3, 16) / 4)
        self.bias, self.between, self.product = nn.Parameter(torch.zeros(16)), between, product

    def forward(self, x: Tensor) -> Tensor:
        return self.product(self.between(self.product(x, self.first) + self.bias), self.second)


def by_hand(between: Callable[[Tensor], Tensor]) -> Case:
    return classifier(Functional(between, lambda x, w: x @ w.T))


def by_function(between: Callable[[Tensor], Tensor]) -> Case:
    return classifier(Functional(between, F.linear))


class Block(nn.Module):
    """An activation that is made and never called."""

    def __init__(self, calls: bool) -> None:
        super().__init__()
        self.up, self.act, self.down, self.calls = nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 3), calls

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(x)) if self.calls else self.up(x))


LINEAR = {
    "sequential": classifier(nn.Linear(12, 16), nn.Dropout(0.1), nn.Linear(16, 3)),
    "flattened": classifier(nn.Linear(12, 12), nn.Unflatten(1, (3, 4)), nn.Flatten(), nn.Linear(12, 3)),
    "functions": by_function(lambda x: F.dropout(x, 0.1)),
    "by hand": by_hand(lambda x: 2 * x),
    "activation never called": classifier(Block(calls=False)),
}
NONLINEAR = {
    "sequential": classifier(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3)),
    "normalised": classifier(nn.Linear(12, 16), nn.LayerNorm(16), nn.Linear(16, 3)),
    "functions": by_function(F.silu),
    "by hand": by_hand(lambda x: x * (x > 0)),
    "gated by itself": by_hand(lambda x: x * torch.sigmoid(x)),
    "bottleneck": classifier(nn.Linear(12, 2), nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 3)),
    "separable convolution": classifier(
        nn.Unflatten(1, (3, 4)), nn.Conv1d(3, 3, 3, padding=1, groups=3), nn.Conv1d(3, 6, 1), nn.Flatten(), nn.ReLU(),
        nn.Linear(24, 3),
    ),
    "activation called": classifier(Block(calls=True)),
    "pooled over places": classifier(
        nn.Unflatten(1, (3, 4)), nn.Linear(4, 8), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 3)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LINEAR)
def test_linear_layers_in_a_row(name: str) -> None:
    (found,) = findings("linear-without-nonlinearity", LINEAR[name])
    assert found.level is Severity.WARNING
    assert (found.location.path or "").endswith("test_layers.py")


class Parts(nn.Module):
    """Two parts with a linear layer at either side of the seam."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 16))
        self.projection = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(self.encoder(x))


def test_an_encoder_that_hands_over_its_features_is_only_noted() -> None:
    (found,) = findings("linear-without-nonlinearity", classifier(Parts()))
    assert found.level is Severity.NOTE


def test_the_blocks_of_a_stack_are_no_parts() -> None:
    blocks = nn.Sequential(
        nn.Sequential(nn.Linear(12, 16), nn.Dropout(0.1)), nn.Sequential(nn.Linear(16, 16), nn.ReLU())
    )
    (found,) = findings("linear-without-nonlinearity", classifier(blocks, nn.Linear(16, 3)))
    assert found.level is Severity.WARNING


@pytest.mark.parametrize("name", NONLINEAR)
def test_layers_with_something_between_them(name: str) -> None:
    assert findings("linear-without-nonlinearity", NONLINEAR[name]) == []


def test_the_way_between_them_is_told() -> None:
    (found,) = findings("linear-without-nonlinearity", LINEAR["sequential"])
    assert "0 → dropout → 2" in found.message


class Normed(nn.Module):
    """A weight, its bias and a batch norm as functions."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3, 12)), nn.Parameter(torch.zeros(3)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(F.linear(x, self.weight, self.bias), None, None, training=True)


def images(*layers: nn.Module) -> Case:
    return classifier(nn.Unflatten(1, (3, 2, 2)), *layers, nn.Flatten(), nn.LazyLinear(3))


BIASED = {
    "linear": classifier(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)),
    "convolution": images(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)),
    "functions": classifier(Normed(bias=True)),
}
UNBIASED = {
    "linear": classifier(nn.Linear(12, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)),
    "convolution": images(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)),
    "functions": classifier(Normed(bias=False)),
    "activation between": classifier(nn.Linear(12, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 3)),
    "frozen statistics": classifier(nn.Linear(12, 16), nn.BatchNorm1d(16).eval(), nn.Linear(16, 3)),
}


@pytest.mark.parametrize("name", BIASED)
def test_a_bias_before_batch_norm(name: str) -> None:
    (found,) = findings("bias-before-batchnorm", BIASED[name])
    assert found.level is Severity.NOTE


@pytest.mark.parametrize("name", UNBIASED)
def test_no_bias_before_batch_norm(name: str) -> None:
    assert findings("bias-before-batchnorm", UNBIASED[name]) == []


DROPPED = {
    "linear": classifier(nn.Linear(12, 16), nn.Dropout(0.5), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 3)),
    "convolution": images(nn.Conv2d(3, 4, 1), nn.Dropout2d(0.2), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
    "functions": by_hand(lambda x: F.batch_norm(F.dropout(x, 0.3), None, None, training=True)),
}
KEPT = {
    "behind": classifier(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 3)),
    "rate of zero": classifier(nn.Dropout(0.0), nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)),
    "switched off": by_hand(lambda x: F.batch_norm(F.dropout(x, 0.3, training=False), None, None, training=True)),
    "layer norm": classifier(nn.Dropout(0.5), nn.Linear(12, 16), nn.LayerNorm(16), nn.Linear(16, 3)),
}


@pytest.mark.parametrize("name", DROPPED)
def test_dropout_before_batch_norm(name: str) -> None:
    (found,) = findings("dropout-before-batchnorm", DROPPED[name])
    assert found.level is Severity.NOTE


@pytest.mark.parametrize("name", KEPT)
def test_dropout_where_it_disturbs_no_statistics(name: str) -> None:
    assert findings("dropout-before-batchnorm", KEPT[name]) == []
