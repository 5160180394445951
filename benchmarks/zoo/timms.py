"""One model of every family of timm: the one with the fewest parameters that its module registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import timm
import torch
from timm.models import _registry as registry

from .case import Case, classes

# The smallest of a family by what its name says; the rest of the order is alphabetical.
_SIZES = (
    "atto",
    "femto",
    "pico",
    "nano",
    "zepto",
    "xxtiny",
    "xtiny",
    "xxs",
    "xs",
    "tiny",
    "_t",
    "lite",
    "small",
    "_s",
    "18",
    "12",
)


def models() -> Iterator[tuple[str, Callable[[], Case]]]:
    for family in sorted(registry._module_to_models):
        names = registry._module_to_models[family]
        yield f"{family}: {_smallest(names)}", partial(_case, _smallest(names))


def _smallest(names: set[str]) -> str:
    return min(
        names, key=lambda name: (next((i for i, size in enumerate(_SIZES) if size in name), 99), len(name), name)
    )


def _case(name: str) -> Case:
    for size in (64, None):
        try:
            options = {"img_size": size} if size and _takes_size(name) else {}
            model = timm.create_model(name, pretrained=False, num_classes=10, **options).train()
            sizes = model.default_cfg.get("input_size", (3, 224, 224))
            fixed = model.default_cfg.get("fixed_input_size", False) and not options
            side = sizes[-1] if fixed or size is None else max(size, 64)
            case = Case(model, (torch.randn(2, sizes[0], side, side),), loss=classes)
            case.step()
            return case
        except Exception:
            if size is None:
                raise
    raise AssertionError


def _takes_size(name: str) -> bool:
    try:
        timm.create_model(name, pretrained=False, num_classes=10, img_size=64)
        return True
    except Exception:
        return False
