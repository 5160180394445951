"""Which module of a specimen makes a dependence: the first whose results show it while what it is given does not."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional

import torch
from torch import Tensor

from . import frames
from .operation import tensors_in
from .specimen import Specimen

Shows = Callable[[Tensor], Optional[bool]]  # of a change; None where the tensor has no such axes


class Call(NamedTuple):
    module: torch.nn.Module
    location: Dict[str, Any]
    given: List[Tensor]
    made: List[Tensor]


def find(specimen: Specimen, replaced: Dict[int, Tensor], shows: Shows) -> Dict[str, Any]:
    """The user's line that calls the module, and the path of the module; empty where no module makes it."""
    usual, other = calls(specimen, {}), calls(specimen, replaced)
    if [call.module for call in usual] != [call.module for call in other]:
        return {}
    guilty = [one for one, two in zip(usual, other) if _makes(specimen, one, two, shows)]
    same = [call for call in guilty if call.location == guilty[0].location]  # from the innermost outwards
    if not same or not same[0].location:
        return {}
    names = {id(module): name for name, module in specimen.model.named_modules()}
    return {**same[0].location, "module": names[id(same[-1].module)] or None}


def calls(specimen: Specimen, replaced: Dict[int, Tensor]) -> List[Call]:
    """Every call of a module, in the order in which they end."""
    seen: List[Call] = []

    def note(module: torch.nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        seen.append(Call(module, frames.place(), _held((args, kwargs)), _held(result)))

    hooks = [module.register_forward_hook(note, with_kwargs=True) for module in specimen.model.modules()]
    try:
        specimen.run(replaced)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _held(value: Any) -> List[Tensor]:
    found = [tensor.detach() for _, tensor in tensors_in(value)]
    return [tensor.float().cpu().clone() for tensor in found if tensor.is_floating_point()]


def _makes(specimen: Specimen, one: Call, two: Call, shows: Shows) -> bool:
    def said(before: List[Tensor], after: List[Tensor]) -> List[Optional[bool]]:
        pairs = [(a, b) for a, b in zip(before, after) if a.shape == b.shape and bool(a.isfinite().all())]
        return [shows(specimen.change(a, b)) for a, b in pairs]

    given = said(one.given, two.given)
    return False in given and True not in given and True in said(one.made, two.made)
