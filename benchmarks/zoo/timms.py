"""One model of every family of timm: the one with the fewest parameters that its module registers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial

import timm
import torch
from timm.models import _registry as registry

from .case import Case, classes


def models() -> Iterator[tuple[str, Callable[[], Case]]]:
    for family in sorted(registry._module_to_models):
        yield family, partial(_case, registry._module_to_models[family])


def _case(names: set[str]) -> Case:
    name = _smallest(names)
    for size in (64, None):
        try:
            options = {"img_size": size} if size and _takes_size(name) else {}
            model = timm.create_model(name, pretrained=False, num_classes=10, **options).train()
            sizes = model.default_cfg.get("input_size", (3, 224, 224))
            fixed = model.default_cfg.get("fixed_input_size", False) and not options
            side = sizes[-1] if fixed or size is None else size
            case = Case(model, (torch.randn(2, sizes[0], side, side),), loss=classes, name=name)
            case.step()
            return case
        except Exception:
            if size is None:
                raise
    raise AssertionError


def _smallest(names: set[str]) -> str:
    """By its parameters; the models that timm makes for its own tests are left out."""
    return min(sorted(name for name in names if not name.startswith("test_")), key=_parameters)


def _parameters(name: str) -> int:
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False, num_classes=10)
    except Exception:  # not all can be built without memory
        return sys.maxsize
    return sum(parameter.numel() for parameter in model.parameters())


def _takes_size(name: str) -> bool:
    try:
        timm.create_model(name, pretrained=False, num_classes=10, img_size=64)
        return True
    except Exception:
        return False
