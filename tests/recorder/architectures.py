"""Small networks of the usual kinds, each with the loss of one training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CLASSES = 5


class Case(NamedTuple):
    model: nn.Module
    loss: Callable[[], Tensor]
    readouts: tuple[str, ...]


def labels(*shape: int) -> Tensor:
    return torch.randint(0, CLASSES, shape)


def classify(model: nn.Module, x: Tensor, *readouts: str, forward: Callable[[Tensor], Tensor] | None = None) -> Case:
    return Case(model, lambda: F.cross_entropy((forward or model)(x), labels(x.shape[0])), readouts)


def mlp(*last: nn.Module) -> Case:
    model = nn.Sequential(
        nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), *(last or (nn.ReLU(),)), nn.Linear(16, CLASSES)
    )
    return classify(model, torch.randn(4, 8), str(len(model) - 1))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


def resnet() -> Case:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return classify(nn.Sequential(stem, Block(8), Block(8), pool, nn.Linear(8, CLASSES)), torch.randn(4, 3, 8, 8), "4")


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.positions = nn.Parameter(torch.zeros(1, 5, 16))
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return self.head(self.norm2(x)[:, 0])


def vit() -> Case:
    return classify(ViT(), torch.randn(4, 3, 8, 8), "head")


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embedding, self.body = nn.Embedding(11, 8), kind(8, 16, 2, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        outputs, _ = self.body(self.embedding(tokens))
        return self.head(outputs[:, -1])


def lstm() -> Case:
    return classify(Recurrent(nn.LSTM), torch.randint(0, 11, (4, 6)), "head")


def gru() -> Case:
    return classify(Recurrent(nn.GRU), torch.randint(0, 11, (4, 6)), "head")


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.embedding, self.encoder = nn.Embedding(11, 16), nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(tokens)).mean(dim=1))


def transformer_encoder() -> Case:
    return classify(Encoder(), torch.randint(0, 11, (4, 6)), "head")


class Scale(nn.Module):
    """Root mean square normalisation, written out, under a name that does not say so."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class GPTBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = Scale(width), Scale(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = (t.view(batch, length, 4, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(width, dim=2))
        mixed = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, blocks: int = 3, final: bool = True) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, 16), nn.Embedding(8, 16)
        self.blocks = nn.ModuleList(GPTBlock(16) for _ in range(blocks))
        self.final = Scale(16) if final else nn.Identity()
        self.head = nn.Linear(16, 11, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        return self.head(self.final(h))


def gpt(final: bool = True) -> Case:
    model, x = GPT(final=final), torch.randint(0, 11, (4, 8))
    return Case(model, lambda: F.cross_entropy(model(x).view(-1, 11), x.view(-1)), ("head",))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.up, self.out = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(8, CLASSES, 1)
        self.norm = nn.GroupNorm(4, 16)

    def forward(self, x: Tensor) -> Tensor:
        first = F.silu(self.down1(x))
        joined = torch.cat([first, self.up(F.silu(self.down2(first)))], dim=1)
        first, second = self.norm(joined).chunk(2, dim=1)
        return self.out(first + second)


def unet() -> Case:
    model = UNet()
    return Case(model, lambda: F.cross_entropy(model(torch.randn(2, 3, 8, 8)), labels(2, 8, 8)), ("out",))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(8, 16) / 3), nn.Parameter(torch.zeros(16))
        self.w2 = nn.Parameter(torch.randn(16, CLASSES) / 4)


def functional() -> Case:
    p, x, y = Functional(), torch.randn(4, 8), labels(4)

    def loss() -> Tensor:
        h = F.layer_norm(torch.relu(x @ p.w1 + p.b1), (16,))
        return -torch.log_softmax(h @ p.w2, dim=1)[torch.arange(4), y].mean()

    return Case(p, loss, ("w2",))


def checkpointed(reentrant: bool) -> Case:
    model = nn.Sequential(
        nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.2), nn.LayerNorm(16)), nn.Linear(16, CLASSES)
    )
    x = torch.randn(4, 8, requires_grad=True)
    return classify(model, x, "1", forward=lambda x: model[1](checkpoint(model[0], x, use_reentrant=reentrant)))


def wholly_checkpointed() -> Case:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, CLASSES))
    x = torch.randn(4, 8, requires_grad=True)
    return classify(model, x, "3", forward=lambda x: checkpoint(model, x, use_reentrant=True))


def autocast() -> Case:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(inplace=True), nn.LayerNorm(16), nn.Linear(16, CLASSES))

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(x)

    return classify(model, torch.randn(4, 8), "3", forward=forward)


def gan() -> Case:
    generator = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
    discriminator = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.LeakyReLU(), nn.Linear(8, 1))
    model = nn.ModuleDict({"g": generator, "d": discriminator})

    def loss() -> Tensor:
        real, fake = discriminator(torch.randn(4, 8)), discriminator(generator(torch.randn(4, 4)).detach())
        judge = F.binary_cross_entropy_with_logits
        return judge(real, torch.ones(4, 1)) + judge(fake, torch.zeros(4, 1))

    return Case(model, loss, ("d.3", "d.3"))


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(_, x: Tensor) -> Tensor:
        return x

    @staticmethod
    def backward(_, gradient: Tensor) -> Tensor:
        return -gradient


def custom_function() -> Case:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, CLASSES))
    return classify(model, torch.randn(4, 8), "2", forward=lambda x: model[2](Reverse.apply(model[1](model[0](x)))))


HEALTHY: dict[str, Callable[[], Case]] = {
    "mlp": lambda: mlp(nn.LayerNorm(16), nn.ReLU()),
    "resnet": resnet,
    "vit": vit,
    "lstm": lstm,
    "gru": gru,
    "transformer encoder": transformer_encoder,
    "gpt, tied": gpt,
    "unet": unet,
    "functional": functional,
    "checkpoint": lambda: checkpointed(False),
    "re-entrant checkpoint": lambda: checkpointed(True),
    "wholly checkpointed": wholly_checkpointed,
    "autocast": autocast,
    "gan": gan,
    "custom function": custom_function,
}
SICK: dict[str, Callable[[], Case]] = {
    "mlp": mlp,
    "mlp, in place": lambda: mlp(nn.ReLU(inplace=True), nn.Dropout(0.1)),
    "gpt without its last norm": lambda: gpt(final=False),
}
