"""The time steps that a model is given with its samples, as in diffusion, and whether it is asked for its own input."""

from __future__ import annotations

import inspect
import weakref
from typing import Any, Dict, List, Optional, Type

import torch
from torch import Tensor

from . import inputs
from .tensors import is_plain, quiet

NAMES = frozenset(
    "t ts time times timestep timesteps time_step time_steps sigma sigmas noise_level noise_levels noise_labels".split()
)
FEWEST = 4  # samples

_named: Dict[type, Optional[inspect.Signature]] = {}


class Times:
    """Of one step, and of the first module in it that is given one number for each sample by such a name."""

    def __init__(self) -> None:
        self._module: Any = None
        self._values: List[Tensor] = []
        self._inputs: List[str] = []
        self._shapes: List[List[int]] = []
        self._shaped = self._echoes = False

    def note(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        signature = _signature(type(module))
        if signature is None or (self._module is not None and self._module() is not module):
            return
        given = signature.bind_partial(module, *args, **kwargs).arguments
        found = [value for name, value in given.items() if name in NAMES and _is_time(value)]
        if found:
            self._module = weakref.ref(module)
            with quiet():
                self._values += [value.detach().clone() for value in found]
                others = [value for value in given.values() if _is_data(value) and not _is_time(value)]
                self._inputs += [inputs.fingerprint([value]) for value in others]
                self._shapes += [list(value.shape) for value in others]

    def note_target(self, pair: Optional[Dict[str, Any]]) -> None:
        if pair is not None:
            self._shaped = self._shaped or list(pair["target_shape"]) in self._shapes
            self._echoes = self._echoes or pair["fingerprint"] in self._inputs

    def facts(self) -> Optional[Dict[str, Any]]:
        """The fields of Times in a Run; None if no module was given any."""
        if not self._values:
            return None
        lows, highs = zip(*(value.double().aminmax() for value in self._values))
        return {
            "samples": sum(map(len, self._values)),
            "low": min(map(float, lows)),
            "high": max(map(float, highs)),
            "whole": not any(value.is_floating_point() for value in self._values),
            "shaped": self._shaped,
            "echoes": self._echoes,
        }


def _signature(kind: Type[torch.nn.Module]) -> Optional[inspect.Signature]:
    """Of its `forward`, if that names a time."""
    if kind not in _named:
        found = None if issubclass(kind, torch.jit.ScriptModule) else inspect.signature(kind.forward)
        _named[kind] = found if found is not None and NAMES.intersection(found.parameters) else None
    return _named[kind]


def _is_time(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 1 and len(value) >= FEWEST and is_plain(value)


def _is_data(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and not value.requires_grad and is_plain(value)
