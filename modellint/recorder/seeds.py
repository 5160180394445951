"""The random state of a re-run: the same for every trial of one seed, another one for the next seed."""

from __future__ import annotations

import functools
import random
import sys
from typing import Any

import torch

from . import imports

STRIDE = 7919  # a prime: a script that adds ranks or trials to its seed meets no other trial's
LIMIT = 1 << 32  # of numpy


def begin(seed: int) -> None:
    """What the script does not seed begins with `seed`; what it seeds is moved on by it: seed 0 leaves it as it is."""
    for owner, name in ((torch, "manual_seed"), (torch.random, "manual_seed"), (random, "seed")):
        _move(owner, name, seed)
    if "numpy" in sys.modules:
        _numpy(seed)
    else:
        imports.after("numpy", lambda: _numpy(seed))
    torch.manual_seed(0)
    random.seed(0)


def _numpy(seed: int) -> None:
    generators = sys.modules["numpy"].random
    _move(generators, "seed", seed)
    _move(generators, "default_rng", seed)
    generators.seed(0)


def _move(owner: Any, name: str, seed: int) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def moved(*args: Any, **kwargs: Any) -> Any:
        given, rest = (args[0], args[1:]) if args else (kwargs.pop("seed", kwargs.pop("a", None)), ())
        given = 0 if given is None else given
        if isinstance(given, int):
            given = (given + STRIDE * seed) % LIMIT if seed else given
        return original(given, *rest, **kwargs)

    setattr(owner, name, moved)
