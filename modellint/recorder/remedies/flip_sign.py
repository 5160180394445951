"""Go down where the script goes up: backward() starts from the negative of the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..patches import Patches
from . import Used


def apply(patches: Patches, used: Used) -> None:
    def reversed_(original: Any, args: Any, kwargs: Any) -> Any:
        used()
        roots, rest = args[0], args[1:]
        negative = -roots if isinstance(roots, Tensor) else [-root for root in roots]
        return original(negative, *rest, **kwargs)

    patches.around(torch.autograd, "backward", reversed_)
