"""Random states: kept as the user left them, set anew for a computation, and the random functions that a model calls."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import Any, Dict, Iterator, List

import torch
from torch.overrides import TorchFunctionMode

from . import frames, surroundings

DRAWS = frozenset(
    "bernoulli bernoulli_ exponential_ multinomial normal normal_ poisson rand rand_like randint randint_like randn "
    "randn_like random_ randperm uniform_".split()
)
DROPS = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout rrelu".split())

ATTENTION = "scaled_dot_product_attention"


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Whatever is drawn in here, the user's generators go on as if nothing had been."""
    numpy = sys.modules.get("numpy")
    before, theirs = random.getstate(), numpy.random.get_state() if numpy else None
    try:
        with torch.random.fork_rng(_devices()):
            yield
    finally:
        random.setstate(before)
        if numpy:
            numpy.random.set_state(theirs)


def seed(number: int) -> None:
    torch.default_generator.manual_seed(number)
    if _devices():
        torch.cuda.manual_seed_all(number)
    random.seed(number)
    numpy = sys.modules.get("numpy")
    if numpy:
        numpy.random.seed(number)


def _devices() -> List[int]:
    """Not those that the user has left alone: to ask for their state would take them, and no worker could be forked then."""
    return list(range(torch.cuda.device_count())) if surroundings.has_taken_gpus() else []


class Draws(TorchFunctionMode):
    """Notes each call of a random function below the frame that enters it: its name and the user's line."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: List[Dict[str, Any]] = []
        self._home = sys._getframe(1)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in DRAWS or (name in DROPS and _drops(args, kwargs)) or (name == ATTENTION and _leaks(args, kwargs)):
            self.seen.append({"name": name, "location": self._place()})
        return func(*args, **kwargs)

    def _place(self) -> Dict[str, Any]:
        for frame in frames.outwards(sys._getframe(2)):
            if frame is self._home:
                break
            if frames.user_path(frame.f_code.co_filename) is not None:
                return frames.place(frame)
        return {}


def _drops(args: Any, kwargs: Any) -> bool:
    """Whether a dropout function is asked to drop: `training` is its third argument, `p` the second."""
    training = args[2] if len(args) > 2 else kwargs.get("training", True)
    return bool(training) and (args[1] if len(args) > 1 else kwargs.get("p", 0.5)) > 0


def _leaks(args: Any, kwargs: Any) -> bool:
    return bool(args[4] if len(args) > 4 else kwargs.get("dropout_p"))
