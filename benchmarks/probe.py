"""What a probe costs: the time of a step beside the bare step, in blocks that take turns within one process.

    OMP_NUM_THREADS=1 python benchmarks/probe.py [--seconds 70] [--only mlp resnet gpt thin gpt2 resnet50]

Ways to watch each model: `unwatched` (the recorder is attached and rests, as after its window), `sampled` (every
measurement, as in the window), `item` (the norm of each gradient read with `.item()` at each step), `hooks` (a histogram
in a hook of each parameter and the mean and deviation of each module's output, as experiment trackers collect them).
On a CPU the time is that of the one thread that computes. GPT-2-small (bfloat16) and ResNet-50 have their turn where there is a
GPU: there it is that of the clock, over a block that begins and ends when the GPU has nothing to do. Bare blocks and blocks of
the ways take turns: what a way costs is compared with the mean of the bare blocks before and after it, so that a drift of the
machine cancels. The median over all rounds is shown with its quartiles, and for `unwatched` the 95 % interval of the median;
it has a turn before each other way. `thin` is the price of an unwatched step with 50 parameters that have next to no
arithmetic to do.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from subjects import Make, gpt, gpt2, mlp, resnet, resnet50, thin
from torch import nn
from torch.nn import functional

from modellint.recorder.session import Recorder

ON_CPU: tuple[Make, ...] = (mlp, resnet, gpt, thin)
ON_GPU: tuple[Make, ...] = (gpt2, resnet50)
HALF: tuple[Make, ...] = (gpt2,)  # in bfloat16, by autocast


class Subject:
    """A model and how it is trained."""

    def __init__(self, make: Make) -> None:
        torch.manual_seed(0)
        model, x, y = make()
        self.device, self.half = "cuda" if make in ON_GPU else "cpu", make in HALF
        self.model, self.x, self.y = (each.to(self.device) for each in (model, x, y))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)

    def step(self, before_step: Callable[[], Any] = lambda: None) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            loss = functional.cross_entropy(self.model(self.x), self.y)
        loss.backward()
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
        if isinstance(result, torch.Tensor):
            kept.append((result.mean().item(), result.std().item()))

    handles = [p.register_hook(lambda g: kept.append(torch.histc(g, 64).tolist())) for p in subject.model.parameters()]
    handles += [module.register_forward_hook(output) for module in subject.model.modules()]
    yield subject.step
    for handle in handles:
        handle.remove()


@contextlib.contextmanager
def recorded(subject: Subject, steps: int, windows: int) -> Iterator[Callable[[], None]]:
    recorder = Recorder(lambda record: None, steps, windows=windows)
    recorder.records_graph = recorder.examines = False  # once a run, not once a step
    recorder.attach()
    recorder.add(subject.optimizer)
    subject.step()
    yield subject.step
    recorder.detach()


Way = Callable[[Subject], contextlib.AbstractContextManager[Callable[[], None]]]
WAYS: dict[str, Way] = {
    "unwatched": lambda subject: recorded(subject, 1, windows=2),
    "sampled": lambda subject: recorded(subject, 1000, windows=1),
    "item": item,
    "hooks": hooks,
}

TURNS = ["unwatched", "sampled", "unwatched", "item", "unwatched", "hooks"]


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one way: per round the seconds of a step, and those of the bare steps around it."""

    own: list[float]
    bare: list[float]

    @property
    def ratios(self) -> list[float]:
        return [own / bare for own, bare in zip(self.own, self.bare, strict=True)]

    @property
    def more(self) -> list[float]:
        """Milliseconds."""
        return [1000 * (own - bare) for own, bare in zip(self.own, self.bare, strict=True)]


def measure(subject: Subject, ways: Sequence[str], seconds: float, steps: int) -> dict[str, Cost]:
    """Rounds until `seconds` are over, at least five."""
    costs = {name: Cost([], []) for name in ways}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(costs[ways[0]].own) < 5:
        before = block(subject, bare, steps)
        for name in ways:
            own = block(subject, WAYS[name], steps)
            after = block(subject, bare, steps)
            costs[name].own.append(own)
            costs[name].bare.append((before + after) / 2)
            before = after
    return costs


def block(subject: Subject, way: Way, steps: int) -> float:
    """The seconds of one of its steps, after one that warms up."""
    with way(subject) as step:
        step()
        gc.collect()
        gc.disable()
        taken = (by_the_clock if subject.device == "cuda" else by_the_thread)(step, steps)
        gc.enable()
    return taken


def by_the_thread(step: Callable[[], None], steps: int) -> float:
    """The median."""
    taken: list[float] = []
    for _ in range(steps):
        began = time.thread_time()
        step()
        taken.append(time.thread_time() - began)
    return statistics.median(taken)


def by_the_clock(step: Callable[[], None], steps: int) -> float:
    """The mean: the steps overlap, as they do in a training."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def spread(values: Sequence[float], digits: int) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"


def interval(values: Sequence[float], digits: int) -> str:
    """The 95 % interval of the median: order statistics, by the normal approximation of the binomial."""
    ordered, half = sorted(values), 0.98 * len(values) ** 0.5
    first, last = max(0, int(len(values) / 2 - half)), min(len(values) - 1, int(len(values) / 2 + half) + 1)
    return f"[{ordered[first]:.{digits}f}, {ordered[last]:.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=70.0, help="for each model")
    parser.add_argument("--only", nargs="+", choices=[make.__name__ for make in (*ON_CPU, *ON_GPU)])
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"torch {torch.__version__}, one thread, {device}")
    print("median (quartiles) [95 % interval of the median], ratios to the bare step")
    for make in (*ON_CPU, *ON_GPU) if torch.cuda.is_available() else ON_CPU:
        if given.only is None or make.__name__ in given.only:
            show(make, given.seconds)


def show(make: Make, seconds: float) -> None:
    is_thin = make is thin
    subject = Subject(make)
    costs = measure(subject, ["unwatched"] if is_thin else TURNS, seconds, 50 if is_thin else 5)
    cost = costs["unwatched"]
    count = f"{len(list(subject.model.parameters()))} parameters"
    print(f"{make.__name__}: bare {1000 * statistics.median(cost.bare):.2f} ms, {count}, {len(cost.own)} turns")
    more = f"{spread(cost.more, 3)} {interval(cost.more, 3)} ms more"
    print(f"  unwatched {spread(cost.ratios, 3)} {interval(cost.ratios, 3)}, {more}", flush=True)
    for name in [name for name in costs if name != "unwatched"]:
        print(f"  {name:<9} {spread(costs[name].ratios, 3)}", flush=True)


if __name__ == "__main__":
    main()
