"""The parameters of a model as records: what a loss can be asked to reach."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set

import torch

from . import frames, models
from .operation import outline
from .tensors import Norms, is_plain, quiet


def owned(model: Optional[torch.nn.Module], called: Set[int]) -> List[Dict[str, Any]]:
    """Each parameter once, tied ones under their first name; `called` are the ids of the modules that ran."""
    named = list(model.named_parameters()) if model is not None else []
    with quiet():
        norms = Norms([parameter if is_plain(parameter) else None for _, parameter in named]).values()
    return [{**_describe(model, name, called, p), "zero": norm == 0} for (name, p), norm in zip(named, norms)]


def _describe(model: Any, name: str, called: Set[int], parameter: torch.Tensor) -> Dict[str, Any]:
    path = name.rpartition(".")[0]
    owner = models.part(model, path)
    return {
        "name": name,
        "shape": list(outline((), parameter)[1]),
        "requires_grad": parameter.requires_grad,
        "called": id(owner) in called,
        "module_class": type(owner).__name__,
        "foreign": _is_foreign(model, path),
        "location": {**models.class_place(model, path), "module": path or None},
    }


def _is_foreign(model: torch.nn.Module, path: str) -> bool:
    """Whether installed code put the module there: the nearest class around it that is not torch's is not the user's."""
    while path:
        path = path.rpartition(".")[0]
        kind = type(models.part(model, path))
        if not kind.__module__.startswith("torch."):
            return frames.is_installed(kind)
    return False
