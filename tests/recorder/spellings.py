"""Small models that are spelled in many ways, each with the loss of one training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from recorded import Case
from torch import Tensor, nn

X, Y = torch.randn(8, 12), torch.arange(8) % 3
IMAGES, TOKENS = torch.randn(8, 3, 9, 9), torch.arange(32).reshape(4, 8) % 11
ROW, COLUMN = torch.randn(8), torch.randn(8, 1)
PIXELS = torch.randint(0, 256, (8, 3, 9, 9), dtype=torch.uint8)
SIGNED, COUNTS = torch.randn(8, 3), torch.randn(8, 3).abs()
Run = Callable[..., Any]


class Net(nn.Module):
    """The given parts, and what is done with them."""

    def __init__(self, run: Run, **parts: Any) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) / shape[0] ** 0.5)


def zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*shape))


def classes(output: Tensor) -> Tensor:
    return F.cross_entropy(output, Y[: len(output)])


def silent(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def net(run: Run, parts: Callable[[], dict[str, Any]], x: Tensor = X, loss: Run = classes) -> Case:
    """The parts are made anew for each step."""

    def case() -> tuple[nn.Module, Callable[[], Tensor]]:
        model = Net(run, **parts())
        return model, lambda: loss(model(x))

    return case


def row(*layers: Callable[[], nn.Module], x: Tensor = X, loss: Run = classes) -> Case:
    return net(lambda s, x: s.layers(x), lambda: {"layers": nn.Sequential(*(layer() for layer in layers))}, x, loss)


def linear(a: int, b: int, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(a, b, **options)


def conv(a: int, b: int, size: int = 3, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(a, b, size, **options)


def last(*finish: Callable[[Tensor], Tensor], loss: Run = classes, width: int = 3) -> Case:
    """A linear layer, and what is done with its output before the loss."""

    def run(s: Any, x: Tensor) -> Tensor:
        output = s.head(x)
        for each in finish:
            output = each(output)
        return output

    return net(run, lambda: {"head": nn.Linear(12, width)}, loss=loss)


def hand_softmax(o: Tensor) -> Tensor:
    powers = torch.exp(o - o.max(1, keepdim=True)[0])
    return powers / powers.sum(1, keepdim=True)


def hand_sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def picked(logarithms: Tensor) -> Tensor:
    return -logarithms[torch.arange(8), Y].mean()


def two() -> dict[str, Any]:
    return {"w": weight(12, 16), "b": zeros(16), "v": weight(16, 3)}


class BatchNorm(nn.Module):
    """As it is taught: the statistics of the batch by hand."""

    def __init__(self, width: int, axes: tuple[int, ...]) -> None:
        super().__init__()
        shape = [1 if axis in axes else width for axis in range(4 if len(axes) > 1 else 2)]
        self.gain, self.shift, self.axes = nn.Parameter(torch.ones(shape)), zeros(*shape), axes

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=self.axes, keepdim=True)
        var = ((x - mean) ** 2).mean(dim=self.axes, keepdim=True)
        return self.gain * ((x - mean) / torch.sqrt(var + 1e-5)) + self.shift


def bare_norm(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


def normed(norm: Callable[[], nn.Module], **options: Any) -> Case:
    return row(linear(12, 16, **options), norm, nn.ReLU, linear(16, 3))


def dropped(drop: Run, norm: Run = bare_norm) -> Case:
    return net(
        lambda s, x: s.head(norm(drop(s.body(x))).relu()), lambda: {"body": nn.Linear(12, 16), "head": nn.Linear(16, 3)}
    )


def deep(act: Run, depth: int = 6, residual: bool = False) -> Case:
    def run(s: Any, x: Tensor) -> Tensor:
        for w in s.ws:
            x = act(x @ w) + x if residual else act(x @ w)
        return s.head(x)

    return net(run, lambda: {"ws": nn.ParameterList(weight(12, 12) for _ in range(depth)), "head": nn.Linear(12, 3)})


def encoder(between: Run) -> Case:
    return net(lambda s, x: s.head(between(s.body, x)), lambda: {"body": nn.Linear(12, 16), "head": nn.Linear(16, 3)})


def without_gradient(body: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return body(x).relu()


def attend(mix: Run, x: Tensor | None = None) -> Case:
    def parts() -> dict[str, Any]:
        qkv, head = nn.Linear(64, 192), nn.Linear(64, 3)
        nn.init.normal_(qkv.weight, std=1 / 8)
        return {"qkv": qkv, "head": head}

    given = torch.randn(4, 6, 64) if x is None else x
    return net(lambda s, x: s.head(mix(*s.qkv(x).chunk(3, dim=-1)).mean(1)), parts, given)


def stream(norm: Run, final: bool, branch: Run = F.gelu) -> Case:
    def run(s: Any, x: Tensor) -> Tensor:
        h = s.words(x)
        for w in s.ws:
            h = h + branch(norm(h) @ w)
        return s.head(norm(h) if final else h).flatten(0, 1)

    def parts() -> dict[str, Any]:
        ws = nn.ParameterList(weight(16, 16) for _ in range(5))
        return {"words": nn.Embedding(11, 16), "ws": ws, "head": nn.Linear(16, 11)}

    return net(run, parts, TOKENS, lambda o: F.cross_entropy(o, TOKENS.flatten()))


def layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, (16,))


def hand_norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt()


def modules(final: bool) -> Case:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    norm = nn.LayerNorm(16) if final else None
    parts = {"words": nn.Embedding(11, 16), "head": nn.Linear(16, 11)}
    body = nn.TransformerEncoder(layer, 3, norm, enable_nested_tensor=False)
    run = lambda s, x: s.head(s.body(s.words(x))).flatten(0, 1)  # noqa: E731
    return net(run, lambda: {**parts, "body": body}, TOKENS, lambda o: F.cross_entropy(o, TOKENS.flatten()))


def one_image(norm: Callable[[], nn.Module], count: int = 1) -> Case:
    return row(conv(3, 8, 3, stride=2), norm, nn.ReLU, nn.Flatten, linear(128, 3), x=IMAGES[:count])


class By(nn.Module):
    def __init__(self, function: Run) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def low_rank(run: Run, *zero: str) -> Case:
    def parts() -> dict[str, Any]:
        made = {"w": weight(3, 12), "a": weight(2, 12), "b": weight(3, 2)}
        return made | {name: zeros(*made[name].shape) for name in zero}

    return net(run, parts)
