"""Calls that no function mode can handle, seen from outside while a step is recorded; each gives the way to undo it."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor


def before_backward(action: Callable[[], None]) -> Callable[[], None]:
    """`Tensor.backward` dispatches to the mode itself, and a mode cannot be taken out from inside: act before it."""
    original = torch.Tensor.backward

    def backward(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        action()
        return original(tensor, *args, **kwargs)  # type: ignore[no-untyped-call]

    return _replace(torch.Tensor, "backward", backward)


def after_custom_functions(action: Callable[[Any, Any, Any], None]) -> Callable[[], None]:
    """`action(class, arguments, result)` after each `apply` of a torch.autograd.Function."""
    original = vars(torch.autograd.Function)["apply"]

    def apply(kind: Any, *args: Any, **kwargs: Any) -> Any:
        result = original.__func__(kind, *args, **kwargs)
        action(kind, args, result)
        return result

    return _replace(torch.autograd.Function, "apply", classmethod(apply))


def _replace(owner: type, name: str, wrapper: Any) -> Callable[[], None]:
    original = vars(owner)[name]

    def undo() -> None:
        if vars(owner)[name] is wrapper:  # else someone wrapped it again, and what is left inside does nothing
            setattr(owner, name, original)

    setattr(owner, name, wrapper)
    return undo
