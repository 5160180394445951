"""The networks that probe.py trains: small ones on a CPU; GPT-2-small and ResNet-50 on a GPU, as large as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Make = Callable[[], tuple[nn.Module, Tensor, Tensor]]


class Block(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        self.short = nn.Conv2d(width, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.short(x) + self.second(self.first(x)))


class Bottleneck(nn.Module):
    def __init__(self, width: int, middle: int, stride: int) -> None:
        super().__init__()
        out = 4 * middle
        self.body = nn.Sequential(
            *(nn.Conv2d(width, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU()),
            *(nn.Conv2d(middle, middle, 3, stride, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU()),
            *(nn.Conv2d(middle, out, 1, bias=False), nn.BatchNorm2d(out)),
        )
        same = stride == 1 and width == out
        short = (nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.short = nn.Identity() if same else nn.Sequential(*short)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.short(x) + self.body(x))


class Gpt(nn.Module):
    def __init__(
        self, vocabulary: int = 256, width: int = 128, layers: int = 4, length: int = 64, heads: int = 4
    ) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.1, batch_first=True, norm_first=True)
        self.body, self.norm = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        return self.head(self.norm(self.body(x, self.mask, is_causal=True))).transpose(1, 2)


def mlp() -> tuple[nn.Module, Tensor, Tensor]:
    wide = nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    return wide, torch.randn(256, 784), torch.randint(0, 10, (256,))


def resnet() -> tuple[nn.Module, Tensor, Tensor]:
    sizes = [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    net = nn.Sequential(
        *stem, *(Block(*size) for size in sizes), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)
    )
    return net, torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))


def gpt() -> tuple[nn.Module, Tensor, Tensor]:
    ids = torch.randint(0, 256, (8, 65))
    return Gpt(), ids[:, :-1], ids[:, 1:]


def thin() -> tuple[nn.Module, Tensor, Tensor]:
    """50 parameters of a few numbers each."""
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(25))), torch.randn(2, 4), torch.tensor([0, 1])


def gpt2() -> tuple[nn.Module, Tensor, Tensor]:
    """GPT-2-small: 124 million parameters, their head tied to the embedding."""
    net, ids = Gpt(50257, 768, 12, 1024, heads=12), torch.randint(0, 50257, (8, 1025))
    net.head.weight = nn.init.normal_(net.tokens.weight, std=0.02)
    return net, ids[:, :-1], ids[:, 1:]


def resnet50() -> tuple[nn.Module, Tensor, Tensor]:
    stages = [(64, 64, 1, 3), (256, 128, 2, 4), (512, 256, 2, 6), (1024, 512, 2, 3)]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    body = [
        Bottleneck(4 * middle if index else width, middle, 1 if index else stride)
        for width, middle, stride, depth in stages
        for index in range(depth)
    ]
    net = nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))
    return net, torch.randn(64, 3, 224, 224), torch.randint(0, 1000, (64,))
