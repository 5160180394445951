"""Every structural rule finds its fault however the model is spelled, and is quiet on the nearest healthy design."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from recorded import RULES, Case, findings
from spellings import (
    COLUMN,
    COUNTS,
    IMAGES,
    PIXELS,
    ROW,
    SIGNED,
    BatchNorm,
    By,
    Run,
    Y,
    attend,
    bare_norm,
    classes,
    conv,
    deep,
    dropped,
    encoder,
    hand_norm,
    hand_sigmoid,
    hand_softmax,
    last,
    layer_norm,
    linear,
    low_rank,
    modules,
    net,
    normed,
    one_image,
    picked,
    row,
    silent,
    stream,
    two,
    weight,
    without_gradient,
    zeros,
)
from torch import nn

from modellint import GraphRule

Table = dict[str, dict[str, Case]]
PLACES = torch.arange(8 * 9 * 9) % 3


def places(finish: Run, loss: Run = lambda o: F.cross_entropy(o, PLACES)) -> Case:
    """Scores of a convolution at every place of an image, and what is done with them before the loss."""
    return net(lambda s, x: finish(s.head(x)), lambda: {"head": nn.Conv2d(3, 3, 1)}, IMAGES, loss)


LOUD_X = 100 * torch.randn(8, 12) + 128

SICK: Table = {
    "readout-without-norm": {
        "module": row(linear(12, 16), nn.ReLU, linear(16, 3)),
        "convolution": row(conv(3, 8), nn.ReLU, lambda: nn.AdaptiveAvgPool2d(1), nn.Flatten, linear(8, 3), x=IMAGES),
        "function": net(lambda s, x: F.linear(F.gelu(F.linear(x, s.w.T, s.b)), s.v.T), two),
        "einsum": net(lambda s, x: torch.einsum("bh,ho->bo", torch.einsum("bi,ih->bh", x, s.w).relu(), s.v), two),
        "by hand": net(lambda s, x: torch.where(x @ s.w > 0, x @ s.w, 0.01 * (x @ s.w)) @ s.v, two),
    },
    "softmax-before-loss": {
        "module": row(linear(12, 3), lambda: nn.Softmax(dim=1)),
        "function": last(lambda o: F.softmax(o / 2, dim=1)),
        "by hand": last(hand_softmax),
        "exponential of the logarithm": last(lambda o: o.log_softmax(1).exp()),
        "loss by hand": last(lambda o: o.softmax(1), loss=lambda p: picked(p.log_softmax(1))),
        "soft labels": last(lambda o: o.softmax(1), loss=lambda p: F.cross_entropy(p, F.one_hot(Y, 3).float())),
    },
    "linear-without-nonlinearity": {
        "module": row(linear(12, 16), nn.Dropout, linear(16, 3)),
        "identity": row(linear(12, 16), nn.Identity, linear(16, 3)),
        "function": net(lambda s, x: F.linear(F.linear(x, s.w.T, s.b), s.v.T), two),
        "addmm": net(lambda s, x: torch.mm(torch.addmm(s.b, x, s.w), s.v), two),
        "einsum": net(lambda s, x: torch.einsum("bh,ho->bo", torch.einsum("bi,ih->bh", x, s.w), s.v), two),
        "by hand": net(lambda s, x: (x @ s.w + s.b) @ s.v, two),
    },
    "bias-before-batchnorm": {
        "module": normed(lambda: nn.BatchNorm1d(16)),
        "function": net(lambda s, x: bare_norm(F.linear(x, s.w.T, s.b)).relu() @ s.v, two),
        "bias by hand": net(lambda s, x: bare_norm(x @ s.w + s.b).relu() @ s.v, two),
        "norm by hand": normed(lambda: BatchNorm(16, (0,))),
    },
    "dropout-before-batchnorm": {
        "module": row(linear(12, 16), lambda: nn.Dropout(0.3), lambda: nn.BatchNorm1d(16), linear(16, 3)),
        "function": dropped(lambda h: F.dropout(h.relu(), 0.3)),
        "by hand": dropped(lambda h: h * (torch.rand_like(h) > 0.5).float() / 0.5),
        "as it is taught": dropped(lambda h: (torch.rand(h.shape) > 0.5).float() * h / (1.0 - 0.5)),
        "bernoulli": dropped(lambda h: h * torch.bernoulli(torch.full_like(h, 0.5))),
    },
    "saturating-stack": {
        "module": row(*(each for _ in range(6) for each in (linear(12, 12), nn.Sigmoid)), linear(12, 3)),
        "convolutions": row(*(e for _ in range(6) for e in (conv(3, 3, 1), nn.Tanh)), nn.Flatten, linear(243, 3), x=IMAGES),
        "function": deep(torch.tanh),
        "sigmoid by hand": deep(hand_sigmoid),
        "tanh by hand": deep(lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())),
    },
    "unused-parameter": {
        "module": net(lambda s, x: s.head(x), lambda: {"head": nn.Linear(12, 3), "extra": nn.Linear(12, 3)}),
        "function": net(lambda s, x: F.linear(x, s.w.T), lambda: {"w": weight(12, 3), "b": zeros(3)}),
        "overwritten": net(
            lambda s, x: (s.extra(x), s.head(x))[1], lambda: {"head": nn.Linear(12, 3), "extra": nn.Linear(12, 3)}
        ),
        "second output": net(
            lambda s, x: (s.head(x), s.extra(x)),
            lambda: {"head": nn.Linear(12, 3), "extra": nn.Linear(12, 3)},
            loss=lambda pair: classes(pair[0]),
        ),
    },
    "activation-on-output": {
        "module": row(linear(12, 3), nn.ReLU),
        "function": last(torch.tanh),
        "method, loss by hand": last(lambda o: o.relu(), loss=lambda o: picked(F.log_softmax(o, 1))),
        "loss of logarithms by hand": last(F.relu, loss=lambda o: (o.logsumexp(1) - o[torch.arange(8), Y]).mean()),
        "relu by hand": last(lambda o: o * (o > 0)),
        "where": last(lambda o: torch.where(o > 0, o, torch.zeros_like(o))),
        "maximum": last(lambda o: torch.maximum(o, torch.zeros_like(o))),
        "sigmoid by hand": last(hand_sigmoid, loss=lambda o: F.binary_cross_entropy_with_logits(o, COUNTS.clamp(max=1))),
        "squares by hand": last(torch.sigmoid, loss=lambda o: (lambda e: (e * e).mean())(SIGNED - o)),
    },
    "softmax-wrong-axis": {
        "module": row(linear(12, 3), lambda: nn.LogSoftmax(dim=0), loss=lambda o: F.nll_loss(o, Y)),
        "function": attend(lambda q, k, v: F.softmax(q @ k.mT / 8, dim=1) @ v),
        "einsum": attend(lambda q, k, v: torch.einsum("bqk,bkd->bqd", (torch.einsum("bqd,bkd->bqk", q, k) / 8).softmax(1), v)),
        "by hand": attend(lambda q, k, v: hand_softmax(q @ k.mT / 8) @ v),
    },
    "cut-gradient": {
        "method": encoder(lambda body, x: body(x).relu().detach()),
        "no_grad": encoder(without_gradient),
        "data": encoder(lambda body, x: F.relu(body(x).data)),
        "whole numbers": encoder(lambda body, x: F.one_hot(body(x).argmax(1), 16).float()),
        "function": net(lambda s, x: F.linear(F.linear(x, s.w.T, s.b).detach().relu(), s.v.T), two),
    },
    "unscaled-attention": {
        "method": attend(lambda q, k, v: (q @ k.mT).softmax(-1) @ v),
        "function": attend(lambda q, k, v: torch.bmm(F.softmax(torch.bmm(q, k.transpose(1, 2)), dim=-1), v)),
        "einsum": attend(lambda q, k, v: torch.einsum("bqk,bkd->bqd", torch.einsum("bqd,bkd->bqk", q, k).softmax(-1), v)),
        "softmax by hand": attend(lambda q, k, v: (lambda p: p / p.sum(-1, keepdim=True) @ v)((q @ k.mT).exp())),
    },
    "no-final-norm": {
        "module": modules(final=False),
        "function": stream(layer_norm, final=False),
        "by hand": stream(hand_norm, final=False),
    },
    "batchnorm-single-sample": {
        "module": one_image(lambda: nn.BatchNorm2d(8)),
        "function": one_image(lambda: By(bare_norm)),
        "by hand": one_image(lambda: BatchNorm(8, (0, 2, 3))),
    },
    "loss-shape-broadcast": {
        "module": last(loss=lambda o: nn.MSELoss()(o, ROW), width=1),
        "function": last(loss=lambda o: F.huber_loss(o, ROW), width=1),
        "likelihood": last(loss=lambda o: F.gaussian_nll_loss(o, ROW, torch.ones(8, 1)), width=1),
        "squares by hand": last(loss=lambda o: (lambda e: (e * e).mean())(o - ROW), width=1),
        "root by hand": last(loss=lambda o: torch.norm(ROW - o), width=1),
        "hinge by hand": last(loss=lambda o: F.relu(1 - ROW.sign() * o).mean(), width=1),
    },
    "stuck-branch": {
        "function": low_rank(lambda s, x: F.linear(x, s.w) + F.linear(F.linear(x, s.a), s.b), "a", "b"),
        "weights before": low_rank(lambda s, x: F.linear(x, s.w + 2 * (s.b @ s.a)), "a", "b"),
        "einsum": low_rank(lambda s, x: x @ s.w.T + torch.einsum("nr,or->no", x @ s.a.T, s.b), "a", "b"),
        "two gates": net(
            lambda s, x: s.head(x + s.g * s.k * s.body(x)),
            lambda: {"body": nn.Linear(12, 12), "head": nn.Linear(12, 3), "g": zeros(1), "k": zeros(1)},
        ),
        "module": net(
            lambda s, x: s.head(x + s.gate(s.body(x))),
            lambda: {"body": silent(nn.Linear(12, 12)), "gate": silent(nn.Linear(12, 12)), "head": nn.Linear(12, 3)},
        ),
    },
    "large-inputs": {
        "module": row(linear(12, 16), nn.ReLU, linear(16, 3), x=LOUD_X),
        "function": net(lambda s, x: (x @ s.w + s.b).relu() @ s.v, two, LOUD_X),
        "pixels": net(
            lambda s, x: s.head(F.relu(s.body(x.float())).mean((2, 3))),
            lambda: {"body": nn.Conv2d(3, 8, 3), "head": nn.Linear(8, 3)}, PIXELS,
        ),
        "joined": net(
            lambda s, x: s.head(s.body(torch.cat([x, -x], 1)).relu()),
            lambda: {"body": nn.Linear(24, 8), "head": nn.Linear(8, 3)}, LOUD_X,
        ),
    },
}  # fmt: skip

SICK["class-axis-reshaped"] = {
    "module": places(lambda o: o.reshape(-1, 3)),
    "function": places(lambda o: F.log_softmax(o, 1).view(-1, 3), lambda o: F.nll_loss(o, PLACES)),
    "kernel by hand": net(
        lambda s, x: F.conv2d(x, s.w[..., None, None]).contiguous().view(648, 3),
        lambda: {"w": weight(3, 3)}, IMAGES, lambda o: F.cross_entropy(o, PLACES),
    ),
}  # fmt: skip
HEALTHY: Table = {
    "class-axis-reshaped": {
        "as they are": places(lambda o: o, lambda o: F.cross_entropy(o, PLACES.view(8, 9, 9))),
        "moved to the end": places(lambda o: o.permute(0, 2, 3, 1).reshape(-1, 3)),
        "pooled over the places": places(lambda o: F.adaptive_avg_pool2d(o, 1).flatten(1), classes),
        "averaged": places(lambda o: o.mean((2, 3)), classes),
    },
    "readout-without-norm": {
        "module": row(linear(12, 16), lambda: nn.LayerNorm(16), nn.ReLU, linear(16, 3)),
        "bounded": row(linear(12, 16), nn.Tanh, linear(16, 3)),
        "function": net(lambda s, x: F.linear(F.layer_norm(F.linear(x, s.w.T, s.b), (16,)).relu(), s.v.T), two),
        "by hand": net(lambda s, x: hand_norm(x @ s.w).relu() @ s.v, two),
        "one layer": row(linear(12, 3)),
    },
    "softmax-before-loss": {
        "scores": row(linear(12, 3)),
        "logarithms": last(lambda o: o.log_softmax(1), loss=lambda o: F.nll_loss(o, Y)),
        "logarithm of a softmax": last(hand_softmax, loss=lambda p: F.nll_loss(torch.log(p + 1e-9), Y)),
        "entropy beside it": last(loss=lambda o: F.cross_entropy(o, Y) + (o.softmax(1) * o.log_softmax(1)).sum(1).mean()),
    },
    "linear-without-nonlinearity": {
        "module": row(linear(12, 16), nn.ReLU, linear(16, 3)),
        "bottleneck": row(linear(12, 2), linear(2, 12), nn.ReLU, linear(12, 3)),
        "function": net(lambda s, x: F.linear(F.silu(F.linear(x, s.w.T, s.b)), s.v.T), two),
        "by hand": net(lambda s, x: (lambda h: h * (h > 0))(x @ s.w) @ s.v, two),
    },
    "bias-before-batchnorm": {
        "module": normed(lambda: nn.BatchNorm1d(16), bias=False),
        "layer norm": normed(lambda: nn.LayerNorm(16)),
        "function": net(lambda s, x: bare_norm(F.linear(x, s.w.T)).relu() @ s.v + s.b[:3], two),
        "behind the activation": net(lambda s, x: bare_norm((x @ s.w + s.b).relu()) @ s.v, two),
        "norm by hand": normed(lambda: BatchNorm(16, (0,)), bias=False),
        "layer norm by hand": normed(lambda: By(hand_norm)),
    },
    "dropout-before-batchnorm": {
        "behind": row(linear(12, 16), lambda: nn.BatchNorm1d(16), nn.Dropout, linear(16, 3)),
        "function, not training": dropped(lambda h: F.dropout(h, 0.3, training=False)),
        "layer norm": dropped(lambda h: F.dropout(h, 0.3), layer_norm),
        "whole samples by hand": dropped(lambda h: h * (torch.rand(len(h), 1) > 0.2).float()),
        "a gate": dropped(lambda h: h * (h > 0).float()),
    },
    "saturating-stack": {
        "few": deep(torch.sigmoid, depth=4),
        "residual": deep(torch.tanh, residual=True),
        "gates by hand": deep(lambda x: x * hand_sigmoid(x)),
        "module": row(*(each for _ in range(6) for each in (linear(12, 12), nn.ReLU)), linear(12, 3)),
    },
    "unused-parameter": {
        "module": net(lambda s, x: s.head(x) + s.extra(x), lambda: {"head": nn.Linear(12, 3), "extra": nn.Linear(12, 3)}),
        "function": net(lambda s, x: F.linear(x, s.w.T, s.b), lambda: {"w": weight(12, 3), "b": zeros(3)}),
        "frozen": net(
            lambda s, x: s.head(x), lambda: {"head": nn.Linear(12, 3), "extra": nn.Linear(12, 3).requires_grad_(False)}
        ),
    },
    "activation-on-output": {
        "module": row(linear(12, 3)),
        "leaky": row(linear(12, 3), nn.LeakyReLU),
        "function, scaled": last(lambda o: 30 * torch.tanh(o / 30)),
        "another threshold": last(lambda o: o * (o > -1)),
        "where, leaky": last(lambda o: torch.where(o > 0, o, 0.1 * o)),
        "counts": last(F.relu, loss=lambda o: (lambda e: (e * e).mean())(COUNTS - o)),
        "the larger of two": last(lambda o: torch.maximum(o, -o.flip(1))),
    },
    "softmax-wrong-axis": {
        "module": row(linear(12, 3), lambda: nn.LogSoftmax(dim=1), loss=lambda o: F.nll_loss(o, Y)),
        "function": attend(lambda q, k, v: F.softmax(q @ k.mT / 8, dim=-1) @ v),
        "keys first": attend(lambda q, k, v: (k @ q.mT / 8).softmax(1).mT @ v),
        "by hand": attend(lambda q, k, v: (lambda p: p / p.sum(-1, keepdim=True) @ v)((q @ k.mT / 8).exp())),
    },
    "cut-gradient": {
        "module": encoder(lambda body, x: body(x).relu()),
        "straight through": encoder(lambda body, x: (lambda h: h + (h.round() - h).detach())(body(x))),
        "a mask of truth values": encoder(lambda body, x: (lambda h: h * (h > 0))(body(x))),
        "function": net(lambda s, x: F.linear(F.linear(x, s.w.T, s.b).relu(), s.v.T), two),
    },
    "unscaled-attention": {
        "method": attend(lambda q, k, v: (q @ k.mT / 8).softmax(-1) @ v),
        "fused": attend(F.scaled_dot_product_attention),
        "einsum": attend(lambda q, k, v: torch.einsum("bqk,bkd->bqd", torch.einsum("bqd,bkd->bqk", q * 0.125, k).softmax(-1), v)),
        "cosines": attend(lambda q, k, v: (10 * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT).softmax(-1) @ v),
    },
    "no-final-norm": {
        "module": modules(final=True),
        "function": stream(layer_norm, final=True),
        "by hand": stream(hand_norm, final=True),
    },
    "batchnorm-single-sample": {
        "module": one_image(lambda: nn.BatchNorm2d(8), 4),
        "group norm": one_image(lambda: nn.GroupNorm(2, 8)),
        "function": one_image(lambda: By(bare_norm), 4),
        "by hand": one_image(lambda: BatchNorm(8, (0, 2, 3)), 4),
    },
    "loss-shape-broadcast": {
        "module": last(loss=lambda o: nn.MSELoss()(o, COLUMN), width=1),
        "function": last(lambda o: o.squeeze(1), loss=lambda o: F.huber_loss(o, ROW), width=1),
        "by hand": last(loss=lambda o: (lambda e: (e * e).mean())(o - COLUMN), width=1),
        "all pairs": last(lambda o: o.squeeze(1), loss=lambda o: F.relu(1 - o[:, None] + o[None]).mean(), width=1),
        "a weight for each class": last(loss=lambda o: F.relu(1 - torch.ones(3) * o).mean()),
    },
    "stuck-branch": {
        "function": low_rank(lambda s, x: F.linear(x, s.w) + F.linear(F.linear(x, s.a), s.b), "b"),
        "weights before": low_rank(lambda s, x: F.linear(x, s.w + 2 * (s.b @ s.a)), "b"),
        "sum of two": low_rank(lambda s, x: F.linear(x, s.w + s.b @ torch.ones(2, 12) + torch.ones(3, 2) @ s.a), "a", "b"),
        "module": net(
            lambda s, x: s.head(x + s.gate(s.body(x))),
            lambda: {"body": nn.Linear(12, 12), "gate": silent(nn.Linear(12, 12)), "head": nn.Linear(12, 3)},
        ),
    },
    "large-inputs": {
        "norm first": row(lambda: nn.BatchNorm1d(12), linear(12, 16), nn.ReLU, linear(16, 3), x=LOUD_X),
        "function": net(lambda s, x: (x @ s.w + s.b).relu() @ s.v, two),
        "pixels": net(
            lambda s, x: s.head(F.relu(s.body(x.float() / 255)).mean((2, 3))),
            lambda: {"body": nn.Conv2d(3, 8, 3), "head": nn.Linear(8, 3)}, PIXELS,
        ),
    },
}  # fmt: skip


def cases(table: Table) -> list[tuple[str, str]]:
    return [(rule, name) for rule, models in table.items() for name in models]


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(("rule", "name"), cases(SICK))
def test_the_fault_is_found(rule: str, name: str) -> None:
    assert findings(rule, SICK[rule][name])


@pytest.mark.parametrize(("rule", "name"), cases(HEALTHY))
def test_its_neighbour_is_healthy(rule: str, name: str) -> None:
    assert findings(rule, HEALTHY[rule][name]) == []


def test_every_rule_is_spelled_three_times() -> None:
    rules = {rule.name for rule in RULES.values() if isinstance(rule, GraphRule)}
    assert SICK.keys() == HEALTHY.keys() == rules
    assert min(map(len, SICK.values())) >= 3
    assert min(map(len, HEALTHY.values())) >= 3
