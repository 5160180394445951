"""Who is who in a run: the models, their readout and every parameter's name, as records."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

import torch
from torch import Tensor

from . import models, walk
from .models import Models, Parameters
from .tensors import Norms
from .track import Track


class Roster:
    def __init__(self) -> None:
        self.readout: Optional[walk.Readout] = None
        self._parameters, self._models = Parameters(), Models()
        self.number = self._parameters.number
        self.forget_calls = self._models.forget

    def note(self, module: torch.nn.Module, tracks: List[Track]) -> bool:
        return self._models.note(module, {id(p) for track in tracks for p in track.parameters()})

    def note_zeros(self, track: Track) -> None:
        """Which parameters are all zero before the first step."""
        listed = track.parameters()
        for parameter, norm in zip(listed, Norms(listed).values()):
            self._parameters.zero[self.number(parameter)] = norm == 0

    def names(self, tracks: List[Track]) -> Tuple[Optional[torch.nn.Module], Dict[int, str]]:
        """The model of the first optimizer and the names of its parameters by id."""
        owners = self._owners(tracks)
        model = owners[0] if owners else None
        return model, {id(p): name for name, p in model.named_parameters()} if model is not None else {}

    def describe(self, tracks: List[Track]) -> Iterator[Dict[str, Any]]:
        owners = self._owners(tracks)
        listed: Dict[int, Dict[str, Any]] = {}
        for model, prefix in zip(owners, _prefixes(owners)):
            for name, owned in model.named_parameters():
                number = self.number(owned)
                listed.setdefault(number, models.describe(number, name, model, owned, prefix))
        for number, parameter in self._parameters.alive():
            listed.setdefault(number, models.describe(number, "parameter_%d" % number, None, parameter))
        for track in tracks:
            for parameter in [] if track.is_bare() else track.parameters():
                listed[self.number(parameter)]["optimizer"] = track.index
        for number, zero in self._parameters.zero.items():
            if number in listed:
                listed[number]["zero_initialised"] = zero
        readout = self._readout(owners, listed)
        yield {"kind": "parameters", "parameters": list(listed.values())}
        if owners:
            yield {"kind": "model", "model": self._model(readout[0] if readout else owners[0], readout)}

    def _owners(self, tracks: List[Track]) -> List[torch.nn.Module]:
        found = [self._models.owner(track.parameters()) for track in tracks if track.is_alive()]
        return list({id(model): model for model in found if model is not None}.values())

    def _readout(self, owners: List[torch.nn.Module], listed: Dict[int, Dict[str, Any]]) -> Any:
        """(model, path) of the module that feeds the loss; marks its parameters."""
        if self.readout is None:
            return None
        for model in owners:
            path = _path(model, self.readout)
            if path is not None:
                for parameter in model.get_submodule(path).parameters(recurse=False):
                    listed[self.number(parameter)]["role"] = "readout"
                if self.readout.weight is not None and id(self.readout.weight) in {id(p) for p in model.parameters()}:
                    listed[self.number(self.readout.weight)]["role"] = "readout"
                return model, path
        return None

    def _model(self, model: torch.nn.Module, readout: Any) -> Dict[str, Any]:
        place = self.readout.location if readout and self.readout else {}
        return {
            "name": type(model).__name__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "readout": readout[1] if readout else None,
            "readout_location": {**place, "module": readout[1]} if readout else {},
            "location": models.class_place(model, ""),
        }


def _path(model: torch.nn.Module, readout: walk.Readout) -> Optional[str]:
    weights = {id(parameter): name for name, parameter in model.named_parameters()}
    module = readout.module
    owned: List[Tensor] = list(module.parameters(recurse=False)) if module is not None else []
    if readout.weight is None or id(readout.weight) not in weights or any(p is readout.weight for p in owned):
        found = next((name for name, part in model.named_modules() if part is module), None)
        if found is not None:
            return found
    name = weights.get(id(readout.weight))
    return None if name is None else name.rpartition(".")[0]


def _prefixes(owners: List[torch.nn.Module]) -> List[str]:
    """Nothing for one model; for several the class name, numbered where it repeats."""
    if len(owners) < 2:
        return [""]
    kinds = [type(model).__name__ for model in owners]
    return [
        (kind if kinds.count(kind) == 1 else "%s%d" % (kind, kinds[: i + 1].count(kind))) + "."
        for i, kind in enumerate(kinds)
    ]
