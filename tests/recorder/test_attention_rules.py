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


def over(dim: int, weigh: Callable[[Tensor, Tensor], Tensor] = torch.matmul) -> Case:
    return attend(lambda q, k, v: weigh((q @ k.mT / ROOT).softmax(dim), v))


def slots(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT / ROOT).softmax(1)
    return weights / weights.sum(-1, keepdim=True) @ v


def scored(dim: int | None, loss: Callable[[Tensor], Tensor]) -> Case:
    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model, x = nn.Linear(WIDTH, 3), torch.randn(4, WIDTH)
        return model, lambda: loss(F.log_softmax(model(x), dim=dim))

    return case


class Pooled(nn.Module):
    """Attention pooling over time: a score for each place, weights, and their sum."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body, self.score, self.head, self.dim = nn.Linear(8, 16), nn.Linear(16, 1), nn.Linear(16, 3), dim

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x).relu()
        return self.head((self.score(h).softmax(self.dim) * h).sum(1))


def pooled(dim: int) -> Case:
    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model = Pooled(dim)
        return model, lambda: F.cross_entropy(model(torch.randn(4, 6, 8)), Y)

    return case


WRONG = {
    "over queries": over(1),
    "over the batch": over(0),
    "functional": attend(lambda q, k, v: torch.bmm(F.softmax(torch.bmm(q, k.mT) / ROOT, dim=-2), v)),
    "einsum": over(1, lambda w, v: torch.einsum("bij,bjd->bid", w, v)),
    "transposed behind the softmax": attend(lambda q, k, v: (q @ k.mT / ROOT).softmax(-1).mT @ v),
    "classes over the batch": scored(0, lambda o: F.nll_loss(o, Y)),
    "distillation over the batch": scored(0, lambda o: F.kl_div(o, torch.full((4, 3), 1 / 3), reduction="batchmean")),
    "pooling over the batch": pooled(0),
}
RIGHT = {
    "over keys": over(-1),
    "einsum": over(2, lambda w, v: torch.einsum("bij,bjd->bid", w, v)),
    "keys in the second axis": attend(lambda q, k, v: (k @ q.mT / ROOT).softmax(1).mT @ v),
    "values first": attend(lambda q, k, v: (v.mT @ (k @ q.mT / ROOT).softmax(1)).mT),
    "linear attention": attend(lambda q, k, v: q.softmax(-1) @ (k.softmax(1).mT @ v)),
    "slots": attend(slots),
    "classes": scored(1, lambda o: F.nll_loss(o, Y)),
    "pooling over time": pooled(1),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_softmax_over_the_wrong_axis(name: str) -> None:
    (found,) = findings("softmax-wrong-axis", WRONG[name])
    assert found.level is Severity.WARNING
    assert (found.location.path or "").endswith("test_attention_rules.py")


@pytest.mark.parametrize("name", RIGHT)
def test_a_softmax_over_the_axis_that_is_used(name: str) -> None:
    assert findings("softmax-wrong-axis", RIGHT[name]) == []
