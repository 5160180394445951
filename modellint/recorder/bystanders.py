"""Networks that are asked while another is trained, such as a teacher: which of their dropouts and batch norms are at work."""

from __future__ import annotations

import weakref
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from . import evaluation, frames, inputs, models
from .patches import Watch


class Bystander(NamedTuple):
    """A network that nothing trains; `steps` are those that asked it with these parts at work, of inputs of these shapes.

    `questions` are the inputs of each step, by their fingerprints.
    """

    network: Any
    name: str
    dropouts: List[str]
    norms: List[str]
    location: Dict[str, Any]
    steps: Set[int]
    shapes: Set[Tuple[int, ...]]
    questions: Set[Tuple[int, str]]


class BystanderWatch(Watch):
    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._seen: Dict[int, Any] = {}  # networks and their parts, held weakly
        self._found: Dict[int, Bystander] = {}
        self._apart: Dict[int, Bystander] = {}
        self._answers: Dict[str, int] = {}  # by their fingerprints, with the id of the network

    def called(self, network: torch.nn.Module, args: Any) -> None:
        """In a step that is watched, in training mode."""
        if not self._is_known(network):
            self._look_at(network)
        found = self._found.get(id(network))
        if found is not None and found.network() is network:
            self._note(found, args)

    def answered(self, network: torch.nn.Module, result: Any) -> None:
        if id(network) in self._found:
            self._answers.update(dict.fromkeys(inputs.each(result), id(network)))

    def feeds(self, args: Any) -> None:
        """The trained network is given these: who made them is no teacher, but comes before it, say to augment or to corrupt."""
        for fingerprint in inputs.each(args) if self._answers else ():
            self._found.pop(self._answers.get(fingerprint, 0), None)

    def describe(self, trained: Sequence[torch.nn.Module]) -> Iterator[Dict[str, Any]]:
        """Those that are neither a part of a trained network nor of the same shapes as one of its parts."""
        if trained:  # at the end of a run nothing may be left of what was trained
            parts = [part for model in trained for part in model.modules()]
            self._apart = {key: found for key, found in self._found.items() if _is_apart(found.network(), parts)}
        for found in self._apart.values():
            active = {"dropouts": found.dropouts, "norms": found.norms}
            told = {"steps": len(found.steps), "location": found.location, "shapes": sorted(map(list, found.shapes))}
            yield {"name": found.name, **active, **told}

    def _note(self, found: Bystander, args: Any) -> None:
        """Who is asked the same twice in a step is asked for draws: its dropout is what they differ by."""
        step = sum(track.done for track in self.recorder.tracks)
        question = step, inputs.fingerprint(args)
        if question in found.questions and question[1]:
            del self._found[id(found.network())]
        found.questions.add(question)
        found.steps.add(step)
        found.shapes.update(inputs.shapes(args))

    def _is_known(self, network: torch.nn.Module) -> bool:
        held = self._seen.get(id(network))
        return held is not None and held() is network

    def _look_at(self, network: torch.nn.Module) -> None:
        self._seen[id(network)] = weakref.ref(network)
        parameters = list(network.parameters())
        frozen = not torch.is_grad_enabled() or not any(parameter.requires_grad for parameter in parameters)
        if not parameters or not frozen or any(track.shares(parameters) for track in self.recorder.tracks):
            return
        active = evaluation.active(network)
        norms = [name for name in active if isinstance(models.part(network, name), _BatchNorm)]
        if active:
            dropouts = [name for name in active if name not in norms]
            self._found[id(network)] = Bystander(
                weakref.ref(network), type(network).__name__, dropouts, norms, frames.place(), set(), set(), set()
            )
        for part in network.modules():
            self._seen[id(part)] = weakref.ref(part)


def _is_apart(network: Optional[torch.nn.Module], parts: Sequence[torch.nn.Module]) -> bool:
    return network is not None and not any(part is network or _shapes(part) == _shapes(network) for part in parts)


def _shapes(network: torch.nn.Module) -> List[Any]:
    return [parameter.shape for parameter in network.parameters()]
