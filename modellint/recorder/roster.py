"""Who is who in a run: the models, their readout and every parameter's name, as records."""

from __future__ import annotations

import weakref
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from . import models, walk
from .fresh import is_fresh
from .models import Models, Parameters
from .tensors import Norms, is_plain, is_there
from .track import Track


class Roster:
    """What was once known of a parameter stays known, although models and optimizers come and go."""

    def __init__(self) -> None:
        self._parameters, self._models = Parameters(), Models()
        self._known: Dict[int, Dict[str, Any]] = {}
        self._readout: Any = None
        self.number, self.renew = self._parameters.number, self._parameters.renew
        self.forget_calls, self.owns = self._models.forget, self._models.owns
        self._loose: Dict[int, Optional[float]] = {}  # with their norms
        self._fresh: Dict[int, bool] = {}
        self.loads = False  # anything was loaded

    def note(self, module: torch.nn.Module, tracks: List[Track]) -> bool:
        return self._models.note(module, {id(p) for track in tracks for p in track.parameters()})

    def note_zeros(self, track: Track) -> None:
        """Which parameters are all zero before their first step."""
        self._note_zeros(track.parameters())

    def _note_zeros(self, parameters: Iterable[Tensor]) -> None:
        listed = [parameter for parameter in parameters if self.number(parameter) not in self._parameters.zero]
        for parameter, norm in zip(listed, Norms(listed).values()):
            self._parameters.zero[self.number(parameter)] = norm == 0

    def note_loose(self, reached: Iterable[Tensor], tracks: List[Track]) -> None:
        """Which of the parameters that a loss has reached no optimizer holds so far; FSDP steps their shards, or a flat one."""
        held = [parameter for track in tracks for parameter in track.parameters()]
        ids, sharded = (
            set(map(id, held)),
            {parameter.shape for parameter in held if hasattr(parameter, "_local_tensor")},
        )
        others = [p for p in reached if id(p) not in ids and p.shape not in sharded]
        loose = [p for p in others if not getattr(p, "_is_flat_param", False) and is_there(p)]
        self._loose.update(zip(map(self.number, loose), Norms(loose).values()))

    def note_readout(self, found: Optional[walk.Readout]) -> None:
        if self._readout is None and found is not None:
            module = None if found.module is None else weakref.ref(found.module)
            self._readout = module, weakref.ref(found.weight), found.location

    def is_readout(self, module: torch.nn.Module) -> bool:
        return self._readout is not None and self._readout[0] is not None and self._readout[0]() is module

    def names(self, tracks: List[Track]) -> Tuple[Optional[torch.nn.Module], Dict[int, str]]:
        """The model of the first optimizer and the names of its parameters by id."""
        owners = self.owners(tracks)
        model = owners[0] if owners else None
        return model, {id(p): name for name, p in model.named_parameters()} if model is not None else {}

    def describe(self, tracks: List[Track]) -> Iterator[Dict[str, Any]]:
        owners = self.owners(tracks)
        self._describe_parameters(owners, tracks)
        readout = self._locate_readout(owners)
        yield {"kind": "parameters", "parameters": list(self._known.values())}
        if owners:
            yield {"kind": "model", "model": self._model(*(readout or (owners[0], None)))}

    def _describe_parameters(self, owners: List[torch.nn.Module], tracks: List[Track]) -> None:
        for model, prefix in zip(owners, _prefixes(owners)):
            for name, owned in model.named_parameters():
                number = self.number(owned)
                described = models.describe(number, name, model, owned, prefix)
                self._known.setdefault(number, {}).update(described)
        for number, parameter in self._parameters.alive():
            self._known.setdefault(number, models.describe(number, "parameter_%d" % number, None, parameter))
        for track in tracks:
            decays = track.decays()
            for parameter in track.parameters():
                found = {"optimizer": track.index, "weight_decay": decays.get(id(parameter), 0.0)}
                trained = {"requires_grad": True}  # torch.func differentiates what does not ask for it
                self._known[self.number(parameter)].update(trained if track.is_bare() else found)
        for number, parameter in self._parameters.alive():
            if parameter.dim() > 1:
                self._known[number]["fresh"] = self._stays(number, parameter) and self._is_fresh(number, parameter)
        self._note_zeros(p for _, p in self._parameters.alive() if not p.requires_grad and is_plain(p) and is_there(p))
        for number in self._loose:
            self._known.get(number, {})["loose"] = "optimizer" not in self._known.get(number, {})
        for number, zero in self._parameters.zero.items():
            self._known.get(number, {})["zero_initialised"] = zero

    def _stays(self, number: int, parameter: Tensor) -> bool:
        """Whether it is frozen, or is in no optimizer and has not changed since that was seen."""
        loose = number in self._loose and is_there(parameter) and self._loose[number] == Norms([parameter]).values()[0]
        return loose or self._known[number]["requires_grad"] is False

    def _is_fresh(self, number: int, frozen: Tensor) -> bool:
        if number not in self._fresh:
            self._fresh[number] = is_fresh(frozen)
        return self._fresh[number] and not self.loads and "optimizer" not in self._known[number]

    def owners(self, tracks: List[Track]) -> List[torch.nn.Module]:
        found = [self._models.owner(track.parameters()) for track in tracks if track.is_alive()]
        return list({id(model): model for model in found if model is not None}.values())

    def _locate_readout(self, owners: List[torch.nn.Module]) -> Optional[Tuple[torch.nn.Module, str]]:
        """(model, path) of the module that feeds the loss; marks its parameters."""
        if self._readout is None:
            return None
        module, weight = self._readout[0] and self._readout[0](), self._readout[1]()
        for model in owners:
            path = _path(model, module, weight)
            if path is not None:
                for parameter in _own(model, path, module, weight):
                    self._known[self.number(parameter)]["role"] = "readout"
                return model, path
        return None

    def _model(self, model: torch.nn.Module, path: Optional[str]) -> Dict[str, Any]:
        return {
            "name": type(model).__name__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "readout": path,
            "readout_location": {} if path is None else {**self._readout[2], "module": path},
            "location": models.class_place(model, ""),
            "momenta": {name: part.momentum for name, part in model.named_modules() if _keeps_statistics(part)},
        }


def _keeps_statistics(module: torch.nn.Module) -> bool:
    """Whether it is a batch norm that is trained and adds each batch to its running statistics."""
    if not isinstance(module, _BatchNorm) or not module.track_running_stats or module.momentum is None:
        return False
    return module.training and all(parameter.requires_grad for parameter in module.parameters(recurse=False))


def _own(model: torch.nn.Module, path: str, module: Any, weight: Any) -> List[Tensor]:
    """The parameters of the readout: all of the module that was called, else, as from a ParameterList, the weight alone."""
    part = models.part(model, path)
    return list(part.parameters(recurse=False)) if type(part) is type(module) else [weight]


def _path(model: torch.nn.Module, module: Optional[torch.nn.Module], weight: Optional[Tensor]) -> Optional[str]:
    """Of the module that was called if the weight is its own, or a copy as of a sharded one; else of the weight."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    owned = list(module.parameters(recurse=False)) if module is not None else []
    if weight is None or id(weight) not in names or any(parameter is weight for parameter in owned):
        path: Optional[str] = next((name for name, part in model.named_modules() if part is module), None)
        if path is not None:
            return path
    name = names.get(id(weight))
    return None if name is None else name.rpartition(".")[0]


def _prefixes(owners: List[torch.nn.Module]) -> List[str]:
    """Nothing for one model; for several the class name, numbered where it repeats."""
    if len(owners) < 2:
        return [""]
    kinds = [type(model).__name__ for model in owners]
    numbers = [str(kinds[: index + 1].count(kind)) if kinds.count(kind) > 1 else "" for index, kind in enumerate(kinds)]
    return [kind + number + "." for kind, number in zip(kinds, numbers)]
