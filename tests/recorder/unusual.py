"""Healthy networks of unusual build, each with the loss of one training step; none of them deserves a warning."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from recorded import Case
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.utils import parametrizations

CLASSES, WIDTH = 5, 16
LABELS = torch.arange(6) % CLASSES
ROWS, SEQUENCE, IMAGES = torch.randn(6, 12), torch.randn(6, 8, WIDTH), torch.randn(6, 3, 16, 16)
TOKENS = torch.arange(48).reshape(6, 8) % 11


def step(build: Callable[[], nn.Module], x: Tensor = ROWS, y: Tensor = LABELS) -> Case:
    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model = build()
        return model, lambda: F.cross_entropy(model(x), y)

    return case


class Rescale(nn.Module):
    """Layer normalisation from the mean and the mean of squares."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        spread = (x * x).mean(-1, keepdim=True) - mean * mean
        return (x - mean) * (spread + 1e-5).rsqrt() * self.gain + self.shift


class Mixer(nn.Module):
    """Layers over places and channels in turn; views as einops makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norms = nn.Linear(3 * 16, WIDTH), nn.ModuleList(Rescale(WIDTH) for _ in range(3))
        self.places = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.channels = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        batch = len(images)
        x = images.reshape(batch, 3, 4, 4, 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(batch, 16, 48)
        x = self.patches(x)
        x = x + self.places(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norms[1](x))
        return self.head(self.norms[2](x).mean(1))


class Routed(nn.Module):
    """A mixture of experts: the best two of four for each token, weighted by the gate and added where they belong."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.gate, self.final = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4, bias=False), nn.RMSNorm(WIDTH)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 32), nn.SiLU(), nn.Linear(32, WIDTH)) for _ in range(4)
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.norm(x).flatten(0, 1)
        weights, chosen = self.gate(flat).softmax(-1).topk(2)
        weights = weights / weights.sum(-1, keepdim=True)
        mixed = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            token, place = torch.where(chosen == number)
            mixed = mixed.index_add(0, token, weights[token, place, None] * expert(flat[token]))
        return self.head(self.final(x + mixed.view_as(x)).mean(1))


class Scan(nn.Module):
    """A selective state space: a recurrence whose decay depends on the input, unrolled over time."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.decay, self.leave = (
            nn.Linear(WIDTH, 2 * WIDTH),
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, WIDTH),
        )
        self.conv = nn.Conv1d(WIDTH, WIDTH, 4, padding=3, groups=WIDTH)
        self.rates = nn.Parameter(torch.arange(1.0, WIDTH + 1).log())
        self.norm, self.final, self.head = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.enter(self.norm(x)).chunk(2, dim=-1)
        values = F.silu(self.conv(values.mT)[..., : x.shape[1]].mT)
        pace = F.softplus(self.decay(values))
        state, states = torch.zeros_like(values[:, 0]), []
        for t in range(x.shape[1]):
            state = torch.exp(-pace[:, t] * self.rates.exp()) * state + pace[:, t] * values[:, t]
            states.append(state)
        return self.head(self.final(x + self.leave(torch.stack(states, 1) * F.silu(gates))).mean(1))


class Messages(nn.Module):
    """Two rounds of message passing: what the neighbours say is averaged by their number."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.other = nn.Linear(12, WIDTH), nn.Linear(12, WIDTH)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)
        self.register_buffer("edges", torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]]))

    def forward(self, x: Tensor) -> Tensor:
        here, there = self.edges
        heard = torch.zeros(len(x), WIDTH).index_add(0, there, self.other(x)[here])
        count = torch.zeros(len(x), 1).index_add(0, there, torch.ones(len(here), 1))
        return self.head(self.norm(self.own(x) + heard / count.clamp(min=1)).relu())


class Flexible(nn.Module):
    """A trained head on frozen attention by a function that is given the scores; it falls off with the distance."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH).requires_grad_(False)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        mixed = flex_attention(q, k, v, score_mod=lambda score, b, h, i, j: score - (i - j).abs())
        return self.head(self.norm(x + mixed.transpose(1, 2).flatten(2)).mean(1))


class Spectral(nn.Module):
    """A layer in the frequencies of the signal, with complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, WIDTH, WIDTH, dtype=torch.cfloat) / WIDTH)
        self.skip, self.norm, self.head = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        waves = torch.einsum("bfi,fio->bfo", torch.fft.rfft(x, dim=1), self.weight)
        mixed = torch.fft.irfft(waves, n=x.shape[1], dim=1)
        return self.head(self.norm(F.gelu(mixed + self.skip(x))).mean(1))


class Ensemble(nn.Module):
    """Several small networks at once: their weights are stacked and mapped over."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Parameter(torch.randn(3, WIDTH, 12) / 4),
            nn.Parameter(torch.randn(3, CLASSES, WIDTH) / 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        def one(first: Tensor, second: Tensor) -> Tensor:
            return F.layer_norm(x @ first.T, (WIDTH,)).relu() @ second.T

        return torch.func.vmap(one)(self.first, self.second).mean(0)


class Sparse(nn.Module):
    """Features by a sparse product with a fixed matrix, as graph convolutions were first written."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(12, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)
        self.register_buffer("links", (torch.eye(6) / 2 + torch.eye(6).roll(1, 0) / 2).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(torch.sparse.mm(self.links, self.body(x))).relu())


class Ragged(nn.Module):
    """Sequences of several lengths in one nested tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.nested.nested_tensor([row[: 3 + i] for i, row in enumerate(x)], layout=torch.jagged)
        padded = torch.nested.to_padded_tensor(self.body(rows).relu(), 0.0)
        return self.head(self.norm(padded.sum(1)))


class Packed(nn.Module):
    """A recurrent reader of sequences of several lengths; what it says last is weighted by an attention by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.body = nn.Embedding(11, WIDTH), nn.GRU(WIDTH, WIDTH, bidirectional=True, batch_first=True)
        self.score, self.head = nn.Linear(2 * WIDTH, 1), nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.words(tokens), torch.tensor([8, 8, 7, 6, 5, 4]), batch_first=True
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(self.body(packed)[0], batch_first=True)
        return self.head((self.score(states.tanh()).softmax(1) * states).sum(1))


class Adaptive(nn.Module):
    """Convolutions whose features are normalised and then scaled by what an embedding says, as in StyleGAN and FiLM."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norms, self.style = nn.ModuleList((nn.GroupNorm(2, 8), nn.GroupNorm(2, 8))), nn.Linear(3, 16)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        scale, shift = self.style(images.mean((2, 3)))[..., None, None].chunk(2, dim=1)
        x = F.silu(self.norms[0](self.first(images)))
        return self.head(F.silu(self.norms[1](self.second(x)) * (1 + scale) + shift).mean((2, 3)))


class Implicit(nn.Module):
    """A fixed point that is looked for without gradient and then stepped once more with it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.again = nn.Linear(12, WIDTH), parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        given, state = self.enter(x), torch.zeros(len(x), WIDTH)
        with torch.no_grad():
            for _ in range(5):
                state = torch.tanh(self.again(state) + given)
        return self.head(self.norm(torch.tanh(self.again(state) + given)))


class Quantised(nn.Module):
    """A code book between an encoder and a decoder, with the straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.book, self.decoder = nn.Linear(12, 4), nn.Embedding(7, 4), nn.Linear(4, 12)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x)
        nearest = self.book(torch.cdist(z, self.book.weight).argmin(1))
        commitment = F.mse_loss(z, nearest.detach()) + F.mse_loss(nearest, z.detach())
        return self.decoder(z + (nearest - z).detach()), commitment


def quantised() -> tuple[nn.Module, Callable[[], Tensor]]:
    model = Quantised()

    def loss() -> Tensor:
        restored, commitment = model(ROWS)
        return F.mse_loss(restored, ROWS) + commitment

    return model, loss


class Linearised(nn.Module):
    """Attention without a softmax over places: the feature maps of keys and values are multiplied first."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.final, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        context = torch.einsum("bnd,bne->bde", k, v)
        weight = 1 / torch.einsum("bnd,bd->bn", q, k.sum(1)).clamp(min=1e-6)
        mixed = torch.einsum("bnd,bde,bn->bne", q, context, weight)
        return self.head(self.final(x + self.out(mixed)).mean(1))


class Recalled(nn.Module):
    """Highway layers with weight norm in its old form, and a gate that starts closed."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(12, WIDTH)
        self.layers = nn.ModuleList(nn.utils.weight_norm(nn.Linear(WIDTH, WIDTH)) for _ in range(4))
        self.gates, self.head = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4)), nn.Linear(WIDTH, CLASSES)
        for gate in self.gates:
            nn.init.constant_(gate.bias, -2.0)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.enter(x))
        for layer, gate in zip(self.layers, self.gates, strict=True):
            open_ = torch.sigmoid(gate(x))
            x = open_ * torch.tanh(layer(x)) + (1 - open_) * x
        return self.head(x)


class Capsules(nn.Module):
    """Votes that are routed by their agreement, and squashed to vectors shorter than one."""

    def __init__(self) -> None:
        super().__init__()
        self.votes = nn.Parameter(torch.randn(4, CLASSES, 3, 8) / 3)

    def forward(self, x: Tensor) -> Tensor:
        votes = torch.einsum("bni,ncio->bnco", x.view(len(x), 4, 3), self.votes)
        logits = torch.zeros(len(x), 4, CLASSES)
        for _ in range(2):
            total = (logits.softmax(2).unsqueeze(-1) * votes).sum(1)
            size = total.norm(dim=-1, keepdim=True)
            out = total * size / (1 + size * size)
            logits = logits + (votes * out.unsqueeze(1)).sum(-1)
        return 10 * out.norm(dim=-1)


class Physical(nn.Module):
    """A function of time and place by sines, whose derivative is part of the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in ((2, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.sin(3 * layer(x))
        return self.layers[-1](x)


def physical() -> tuple[nn.Module, Callable[[], Tensor]]:
    model, points = Physical(), torch.rand(9, 2, requires_grad=True)

    def loss() -> Tensor:
        value = model(points)
        (slope,) = torch.autograd.grad(value.sum(), points, create_graph=True)
        return (slope[:, 0] + slope[:, 1]).square().mean() + (value[:3] - math.pi).square().mean()

    return model, loss


HEALTHY: dict[str, Case] = {
    "mixer": step(Mixer, IMAGES),
    "mixture of experts": step(Routed, SEQUENCE),
    "selective state space": step(Scan, SEQUENCE),
    "message passing": step(Messages),
    "flexible attention": step(Flexible, SEQUENCE),
    "spectral layer": step(Spectral, SEQUENCE),
    "mapped ensemble": step(Ensemble),
    "sparse product": step(Sparse),
    "nested tensors": step(Ragged, SEQUENCE),
    "packed sequences": step(Packed, TOKENS),
    "styled convolutions": step(Adaptive, IMAGES),
    "implicit layer": step(Implicit),
    "code book": quantised,
    "linear attention": step(Linearised, SEQUENCE),
    "highways": step(Recalled),
    "capsules": step(Capsules),
    "physics": physical,
}
