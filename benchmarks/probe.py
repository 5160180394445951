"""What a probe costs: CPU time of a step as a ratio to the bare step, interleaved medians, beside other ways to watch.

    python benchmarks/probe.py [--rounds 15] [--steps 4]

Four ways to watch each model: `unwatched` (the recorder is attached and rests, as after its window), `sampled` (every
measurement, as in the window), `item` (the norm of each gradient read with `.item()` at each step), `hooks` (a histogram
in a hook of each parameter and the mean and deviation of each module's output, as experiment trackers collect them).
The last line is the absolute price of an unwatched step with 50 parameters that have next to no arithmetic to do.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modellint.recorder.session import Recorder


class Block(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        self.short = nn.Conv2d(width, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.short(x) + self.second(self.first(x)))


class Gpt(nn.Module):
    def __init__(self, vocabulary: int = 256, width: int = 128, layers: int = 4, length: int = 64) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.1, batch_first=True, norm_first=True)
        self.body, self.norm = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
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


class Subject:
    """A model and how it is trained."""

    def __init__(self, make: Callable[[], tuple[nn.Module, Tensor, Tensor]]) -> None:
        torch.manual_seed(0)
        self.model, self.x, self.y = make()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)

    def step(self, before_step: Callable[[], Any] = lambda: None) -> None:
        self.optimizer.zero_grad()
        functional.cross_entropy(self.model(self.x), self.y).backward()
        before_step()
        self.optimizer.step()

    def read_norms(self) -> list[float]:
        return [p.grad.norm().item() for p in self.model.parameters() if p.grad is not None]


@contextlib.contextmanager
def bare(subject: Subject) -> Iterator[Callable[[], None]]:
    yield subject.step


@contextlib.contextmanager
def item(subject: Subject) -> Iterator[Callable[[], None]]:
    yield lambda: subject.step(subject.read_norms)


@contextlib.contextmanager
def hooks(subject: Subject) -> Iterator[Callable[[], None]]:
    kept: list[Any] = []

    def output(module: nn.Module, args: Any, result: Any) -> None:
        if isinstance(result, Tensor):
            kept.append((result.mean().item(), result.std().item()))

    handles = [p.register_hook(lambda g: kept.append(torch.histc(g, 64).tolist())) for p in subject.model.parameters()]
    handles += [module.register_forward_hook(output) for module in subject.model.modules()]
    yield subject.step
    for handle in handles:
        handle.remove()


@contextlib.contextmanager
def recorded(subject: Subject, steps: int, windows: int) -> Iterator[Callable[[], None]]:
    recorder = Recorder(lambda record: None, steps, windows=windows)
    recorder.attach()
    recorder.add(subject.optimizer)
    subject.step()
    yield subject.step
    recorder.detach()


WAYS: dict[str, Callable[[Subject], contextlib.AbstractContextManager[Callable[[], None]]]] = {
    "bare": bare,
    "unwatched": lambda subject: recorded(subject, 1, windows=2),
    "sampled": lambda subject: recorded(subject, 1000, windows=1),
    "item": item,
    "hooks": hooks,
}


def measure(subject: Subject, rounds: int, steps: int) -> dict[str, float]:
    """The median CPU seconds of a step, each way; a round goes through all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            with way(subject) as step:
                step()
                began = time.process_time()
                for _ in range(steps):
                    step()
                seconds[name].append((time.process_time() - began) / steps)
    return {name: statistics.median(found) for name, found in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread; ratios to the bare step")
    for make in (mlp, resnet, gpt):
        found = measure(Subject(make), given.rounds, given.steps)
        ratios = ", ".join(f"{name} {found[name] / found['bare']:.3f}" for name in WAYS if name != "bare")
        print(f"{make.__name__:<8}{found['bare'] * 1000:7.1f} ms   {ratios}")
    found = measure(Subject(thin), 3 * given.rounds, 20 * given.steps)
    print(f"50 parameters: {(found['unwatched'] - found['bare']) * 1000:.3f} ms more a step while unwatched")


if __name__ == "__main__":
    main()
