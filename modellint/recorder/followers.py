"""Networks of the same shapes as a trained one that are moved towards it between its steps: averages, and copies."""

from __future__ import annotations

import math
import weakref
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from . import models
from .tensors import is_plain, local

TENSORS, SAMPLED = 4, 1 << 14  # the largest of a network, and the elements of each that are read
EXACT = 0.05  # what may be left of a move that leads straight to the trained network
FEWEST = 16  # elements: of fewer any move may lead straight to the other by chance
ALIKE = 3  # more networks of the same shapes are layers of a stack, or an ensemble


class Pair(NamedTuple):
    """Tensors of a trained network and those of the other at the same places, held weakly."""

    name: str
    tensors: Sequence[Tuple[Any, Any]]

    def sides(self) -> Tuple[Optional[Tensor], Optional[Tensor]]:
        """Samples of both, as two vectors; None for one that is gone."""
        leading, following = ([held() for held in side] for side in zip(*self.tensors))
        return _sample(leading), _sample(following)


class Followers:
    """Of one optimizer. The moves between two of its steps are measured, and whether a step itself moves the other."""

    def __init__(self, held: Sequence[Tensor]) -> None:
        self._pairs = list(_pairs({id(parameter) for parameter in held}))
        self._left: List[Optional[Tensor]] = [None] * len(self._pairs)  # the others as the last step left them
        self._found: List[Optional[Tensor]] = list(self._left)  # and as the present one found them
        self._led: List[Optional[Tensor]] = list(self._left)  # the trained ones as the last step left them
        self._rates: List[Tuple[Optional[float], Optional[float]]] = [(None, None)] * len(self._pairs)

    def begin_step(self) -> None:
        for index, (pair, left) in enumerate(zip(self._pairs, self._left)):
            leader, found = pair.sides()
            self._found[index] = found
            self._rates[index] = _rate(leader, left, found), _rate(found, self._led[index], leader)

    def end_step(self) -> Iterator[Dict[str, Any]]:
        """The fields of a Follower for each, and its number."""
        for index, (pair, found) in enumerate(zip(self._pairs, self._found)):
            self._led[index], left = pair.sides()
            stepped = found is not None and left is not None and bool((found != left).any())
            self._left[index] = left
            rate, pull = self._rates[index]
            yield {"number": index, "name": pair.name, "rate": rate, "pull": pull, "stepped": stepped}


def _rate(leader: Optional[Tensor], old: Optional[Tensor], new: Optional[Tensor]) -> Optional[float]:
    """The part of the way to `leader` that was made; None where it was not a straight one."""
    if leader is None or old is None or new is None:
        return None
    way, moved = leader - old, new - old
    length, distance = float(way.square().sum()), float(moved.norm())
    if not length or not math.isfinite(length):
        return None
    rate = float((way * moved).sum()) / length
    rest = float((moved - rate * way).norm())
    return rate if rest <= EXACT * distance else None


def _sample(tensors: Sequence[Optional[Tensor]]) -> Optional[Tensor]:
    parts = [local(tensor).reshape(-1) for tensor in tensors if tensor is not None]
    if len(parts) < len(tensors):
        return None
    return torch.cat([_evenly(part).double().cpu() for part in parts])


def _evenly(part: Tensor) -> Tensor:
    count = len(part)
    return part if count <= SAMPLED else part[torch.arange(SAMPLED, device=part.device) * count // SAMPLED]


def _pairs(held: Any) -> Iterator[Pair]:
    """Trained networks, the largest first, with each other one of the same names and shapes."""
    alike: Dict[Any, Dict[Any, torch.nn.Module]] = {}
    for module in models.living():
        named = _named(module)
        if sum(parameter.numel() for _, parameter in named) >= FEWEST:
            shapes = tuple((name, tuple(parameter.shape)) for name, parameter in named)
            alike.setdefault(shapes, {})[tuple(id(parameter) for _, parameter in named)] = module
    covered: Set[int] = set()
    for networks in sorted(alike.values(), key=lambda found: -len(next(iter(found)))):
        leaders = [ids for ids in networks if held.issuperset(ids)]
        if not leaders or not 1 < len(networks) <= ALIKE or covered.issuperset(i for ids in networks for i in ids):
            continue
        covered.update(identity for ids in networks for identity in ids)
        yield from (
            _pair(networks[leader], networks[other]) for leader in leaders for other in networks if leader != other
        )


def _named(module: torch.nn.Module) -> List[Tuple[str, Tensor]]:
    """Nothing for a network that is not complete, or cannot be read."""
    try:
        named: List[Tuple[str, Tensor]] = list(module.named_parameters())
    except Exception:
        return []
    return named if all(_is_read(parameter) for _, parameter in named) else []


def _is_read(parameter: Tensor) -> bool:
    return is_plain(parameter) and not is_lazy(parameter) and parameter.is_floating_point()


def _pair(leader: torch.nn.Module, other: torch.nn.Module) -> Pair:
    both = sorted(zip(leader.parameters(), other.parameters()), key=lambda pair: -pair[0].numel())
    return Pair(type(other).__name__, [(weakref.ref(one), weakref.ref(two)) for one, two in both[:TENSORS]])
