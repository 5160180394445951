"""Rules about what lies on a path: cuts, zero factors, saturation, norms that are missing or see one sample."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from architectures import GPT
from recorded import Case, findings
from torch import Tensor, nn

from modellint import Severity
from modellint.core.diagnostic import Verdict

X, Y = torch.randn(8, 12), torch.arange(8) % 3


def classify(build: Callable[[], nn.Module], x: Tensor = X, y: Tensor = Y) -> Case:
    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model = build()
        return model, lambda: F.cross_entropy(model(x), y)

    return case


class Two(nn.Module):
    """An encoder, a head, and what is done with the features between them."""

    def __init__(self, between: Callable[[Two, Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder, self.head, self.between = nn.Linear(12, 16), nn.Linear(16, 3), between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self, x))


def unrecorded(net: Two, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net.encoder(x).relu()


def by_hand(net: Two, x: Tensor) -> Tensor:
    return (x @ net.encoder.weight.T + net.encoder.bias).relu().data


def straight_through(net: Two, x: Tensor) -> Tensor:
    h = net.encoder(x)
    return h + (h.round() - h).detach()


CUT = {
    "detached": classify(lambda: Two(lambda net, x: net.encoder(x).relu().detach())),
    "without gradients": classify(lambda: Two(unrecorded)),
    "data, by hand": classify(lambda: Two(by_hand)),
}
WHOLE = {
    "whole": classify(lambda: Two(lambda net, x: net.encoder(x).relu())),
    "straight through": classify(lambda: Two(straight_through)),
    "a detached target": classify(lambda: Two(lambda net, x: net.encoder(x) - net.encoder(x).mean().detach())),
}


@pytest.mark.parametrize("name", CUT)
def test_a_cut_on_the_way_to_the_loss(name: str) -> None:
    (found,) = findings("cut-gradient", CUT[name])
    assert "2 parameters" in found.message
    assert (found.location.path or "").endswith("test_paths.py")
    assert findings("unused-parameter", CUT[name]) == [], "one fault is told once"


@pytest.mark.parametrize("name", WHOLE)
def test_no_cut(name: str) -> None:
    assert findings("cut-gradient", WHOLE[name]) == []


class Adapted(nn.Module):
    """A layer with a low-rank branch beside it."""

    def __init__(self, *zeros: str, functional: bool = False) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(12, 3), nn.Linear(12, 2, bias=False), nn.Linear(2, 3, bias=False)
        self.functional = functional
        for name in zeros:
            nn.init.zeros_(getattr(self, name).weight)

    def forward(self, x: Tensor) -> Tensor:
        branch = x @ self.down.weight.T @ self.up.weight.T if self.functional else self.up(F.dropout(self.down(x)))
        return self.base(x) + 2 * branch


class Gated(nn.Module):
    """A residual branch whose gate, and perhaps whose last layer or norm, starts at zero."""

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.branch, self.gate = nn.Linear(12, 16), nn.Linear(16, 16), nn.Parameter(torch.zeros(1))
        self.last, self.head = last or nn.Identity(), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x).relu()
        return self.head(h + self.gate * self.last(self.branch(h)))


def zeroed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


STUCK = {
    "both matrices": classify(lambda: Adapted("down", "up")),
    "both matrices, functions": classify(lambda: Adapted("down", "up", functional=True)),
    "gate and last layer": classify(lambda: Gated(zeroed(nn.Linear(16, 16)))),
    "gate and norm": classify(lambda: Gated(zeroed(nn.LayerNorm(16)))),
}
SOFT = {
    "second matrix": classify(lambda: Adapted("up")),
    "first matrix": classify(lambda: Adapted("down")),
    "gate alone": classify(Gated),
    "zero but frozen": classify(lambda: _frozen_branch()),
}


def _frozen_branch() -> nn.Module:
    model = Adapted("down", "up")
    model.down.requires_grad_(False)
    model.up.requires_grad_(False)
    return model


@pytest.mark.parametrize("name", STUCK)
def test_two_factors_of_zero(name: str) -> None:
    (found,) = findings("stuck-branch", STUCK[name])
    assert found.level is Severity.WARNING


@pytest.mark.parametrize("name", STUCK)
def test_such_factors_have_no_gradient(name: str) -> None:
    torch.manual_seed(0)
    model, loss = STUCK[name]()
    loss().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.any()]
    assert len([n for n in silent if not n.endswith("bias")]) >= 2


@pytest.mark.parametrize("name", SOFT)
def test_one_factor_of_zero_starts_softly(name: str) -> None:
    assert findings("stuck-branch", SOFT[name]) == []


class Deep(nn.Module):
    def __init__(self, depth: int, act: Callable[[Tensor], Tensor], residual: bool = False) -> None:
        super().__init__()
        self.first, self.residual, self.act = nn.Linear(12, 16), residual, act
        self.weights = nn.ParameterList(torch.randn(16, 16) / 4 for _ in range(depth))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.first(x))
        for weight in self.weights:
            new = self.act(h @ weight)
            h = h + new if self.residual else new
        return self.head(h)


def stack(depth: int, act: type[nn.Module], norm: bool = False) -> nn.Module:
    layers = [m for _ in range(depth) for m in (nn.Linear(12, 12), *([nn.LayerNorm(12)] if norm else []), act())]
    return nn.Sequential(*layers, nn.Linear(12, 3))


SATURATING = {
    "modules": classify(lambda: stack(6, nn.Sigmoid)),
    "functions": classify(lambda: Deep(5, torch.tanh)),
    "by method": classify(lambda: Deep(5, lambda x: x.sigmoid())),
}
OPEN = {
    "few": classify(lambda: stack(4, nn.Sigmoid)),
    "normalised": classify(lambda: stack(6, nn.Sigmoid, norm=True)),
    "residual": classify(lambda: Deep(6, torch.tanh, residual=True)),
    "relu": classify(lambda: Deep(6, F.relu)),
    "gates": classify(lambda: Deep(6, lambda x: x * torch.sigmoid(x))),
    "recurrent": classify(lambda: nn.Sequential(nn.LSTM(12, 16, 6), _First(), nn.Linear(16, 3))),
}


class _First(nn.Module):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0]


@pytest.mark.parametrize("name", SATURATING)
def test_many_saturating_layers_are_suspected(name: str) -> None:
    (found,) = findings("saturating-stack", SATURATING[name])
    assert found.verdict is Verdict.SUSPECTED


@pytest.mark.parametrize("name", OPEN)
def test_saturation_that_does_not_pile_up(name: str) -> None:
    assert findings("saturating-stack", OPEN[name]) == []


def language(build: Callable[[], nn.Module]) -> Case:
    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model, x = build(), torch.randint(0, 11, (4, 8))
        return model, lambda: F.cross_entropy(model(x).flatten(0, -2), x.flatten())

    return case


class Stream(nn.Module):
    """Pre-norm blocks by functions on bare weights; the last norm is optional."""

    def __init__(self, norm: Callable[[Tensor], Tensor], final: bool) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 16), nn.Linear(16, 11)
        self.weights = nn.ParameterList(torch.randn(16, 16) / 4 for _ in range(5))
        self.norm, self.final = norm, final

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x)
        for weight in self.weights:
            h = h + F.gelu(self.norm(h) @ weight)
        return self.head(self.norm(h) if self.final else h)


def layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, (16,))


def rms(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


UNNORMED = {
    "modules": language(lambda: GPT(final=False)),
    "functions": language(lambda: Stream(layer_norm, final=False)),
    "by hand": language(lambda: Stream(rms, final=False)),
}
NORMED = {
    "modules": language(GPT),
    "functions": language(lambda: Stream(layer_norm, final=True)),
    "by hand": language(lambda: Stream(rms, final=True)),
    "post-norm": classify(lambda: nn.Sequential(nn.TransformerEncoderLayer(12, 3, 24), nn.Linear(12, 3))),
}


@pytest.mark.parametrize("name", UNNORMED)
def test_a_stream_without_a_final_norm(name: str) -> None:
    (found,) = findings("no-final-norm", UNNORMED[name])
    assert found.level is Severity.WARNING
    assert "`head` ←" in found.message


@pytest.mark.parametrize("name", NORMED)
def test_a_stream_with_a_final_norm(name: str) -> None:
    assert findings("no-final-norm", NORMED[name]) == []


def image(norm: Callable[[Tensor], Tensor], batch: int) -> Case:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3, 2), _Call(norm), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))

    return classify(build, torch.randn(batch, 3, 9, 9), Y[:batch])


class _Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def functional(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(8), functional, lambda x: torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False)],
)
def test_batch_norm_of_one_sample(norm: Callable[[Tensor], Tensor]) -> None:
    (found,) = findings("batchnorm-single-sample", image(norm, 1))
    assert found.level is Severity.WARNING
    assert findings("batchnorm-single-sample", image(norm, 4)) == []


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(8).eval(), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8)])
def test_other_norms_of_one_sample(norm: nn.Module) -> None:
    assert findings("batchnorm-single-sample", image(norm, 1)) == []
