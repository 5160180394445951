"""Rules about attention, on steps that were really run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from recorded import Case, findings
from torch import Tensor, nn

from modellint import Severity

WIDTH = 64
Y = torch.arange(4) % 3


class SelfAttention(nn.Module):
    """Layers of the usual initialisation times `gain`, so that queries and keys have a variance of about gain²/3."""

    def __init__(self, mix: Callable[[Tensor, Tensor, Tensor], Tensor], gain: float) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.head, self.mix = nn.Linear(WIDTH, 3), mix
        with torch.no_grad():
            self.q.weight.mul_(gain)
            self.k.weight.mul_(gain)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.q(x), self.k(x), self.v(x)).mean(1))


def attend(mix: Callable[[Tensor, Tensor, Tensor], Tensor], gain: float = 3**0.5) -> Case:
    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model = SelfAttention(mix, gain)
        return model, lambda: F.cross_entropy(model(torch.randn(4, 6, WIDTH)), Y)

    return case


def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.bmm(q, k.transpose(1, 2)).masked_fill(torch.ones(6, 6).triu(1).bool(), float("-inf"))
    return F.dropout(scores.softmax(-1), 0.1) @ v


def by_hand(scores: Tensor) -> Tensor:
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True)


def cosine(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (10 * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(1, 2)).softmax(-1) @ v


ROOT = WIDTH**0.5
UNSCALED = {
    "method": attend(lambda q, k, v: (q @ k.transpose(1, 2)).softmax(-1) @ v),
    "masked and dropped": attend(masked),
    "einsum": attend(
        lambda q, k, v: torch.einsum("bij,bjd->bid", torch.softmax(torch.einsum("bid,bjd->bij", q, k), 2), v)
    ),
    "softmax by hand": attend(lambda q, k, v: by_hand(q @ k.mT) @ v),
    "scaled behind the softmax": attend(lambda q, k, v: ((q @ k.mT).softmax(-1) / ROOT) @ v),
}  # fmt: skip
SCALED = {
    "divided": attend(lambda q, k, v: (q @ k.transpose(1, 2) / ROOT).softmax(-1) @ v),
    "queries scaled before": attend(lambda q, k, v: ((q * ROOT**-1) @ k.mT).softmax(-1) @ v),
    "both scaled by the fourth root": attend(lambda q, k, v: ((q / ROOT**0.5) @ (k / ROOT**0.5).mT).softmax(-1) @ v),
    "fused": attend(F.scaled_dot_product_attention),
    "cosine": attend(cosine),
    "small at first, as in T5": attend(lambda q, k, v: (q @ k.mT).softmax(-1) @ v, gain=0.2),
    "einsum": attend(
        lambda q, k, v: torch.einsum("bij,bjd->bid", (torch.einsum("bid,bjd->bij", q, k) * 0.125).softmax(2), v)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSCALED)
def test_scores_that_are_not_scaled(name: str) -> None:
    (found,) = findings("unscaled-attention", UNSCALED[name])
    assert found.level is Severity.WARNING
    assert found.evidence[0].value > 4
    assert "size 64" in found.message


@pytest.mark.parametrize("name", SCALED)
def test_scores_that_are_scaled_or_small(name: str) -> None:
    assert findings("unscaled-attention", SCALED[name]) == []
