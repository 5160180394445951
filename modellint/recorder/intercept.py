"""Calls that no function mode can see or handle, seen from outside while a step is recorded; each gives its undoing."""

from __future__ import annotations

import sys
from typing import Any, Callable, List

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_COMPILING = {"torch._dynamo", "torch.nn.attention.flex_attention"}  # to import the first takes seconds
Undo = Callable[[], None]


def before_backward(action: Callable[[], None]) -> Undo:
    """`Tensor.backward` dispatches to the mode itself, and a mode cannot be taken out from inside: act before it."""
    original: Any = torch.Tensor.backward

    def backward(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        action()
        return original(tensor, *args, **kwargs)

    return _replace(torch.Tensor, "backward", backward)


def after_custom_functions(action: Callable[[Any, Any, Any], None]) -> Undo:
    """`action(class, arguments, result)` after each `apply` of a torch.autograd.Function."""
    original = vars(torch.autograd.Function)["apply"]

    def apply(kind: Any, *args: Any, **kwargs: Any) -> Any:
        result = original.__get__(None, kind)(*args, **kwargs)  # newer releases have it from C
        action(kind, args, result)
        return result

    return _replace(torch.autograd.Function, "apply", classmethod(apply))


def after_indexing(action: Callable[[Any, Any, Any], None]) -> List[Undo]:
    """`action(function, arguments, result)` after `x[...]` and `x[...] = y`, where releases hide them from modes."""
    return [] if _modes_see_indexing() else [_follow(name, action) for name in ("__getitem__", "__setitem__")]


def without_compiler() -> List[Undo]:
    """Compiled functions run as they are written: the compiler would trace the mode too, and may refuse to."""
    if not _COMPILING & sys.modules.keys() or not hasattr(torch.compiler, "set_stance"):
        return []
    stance = torch.compiler.set_stance("force_eager")
    return [lambda: stance.__exit__(None, None, None)]


def _follow(name: str, action: Callable[[Any, Any, Any], None]) -> Undo:
    original = getattr(torch.Tensor, name)

    def method(*args: Any) -> Any:
        result = original(*args)
        action(original, args, result)
        return result

    return _replace(torch.Tensor, name, method)


def _modes_see_indexing() -> bool:
    seen: List[str] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    with Watch():
        torch.Tensor([0.0])[0]
    return "__getitem__" in seen


def _replace(owner: type, name: str, wrapper: Any) -> Undo:
    own = vars(owner).get(name)

    def undo() -> None:
        if vars(owner).get(name) is not wrapper:
            return  # someone wrapped it again, and what is left inside does nothing
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)

    setattr(owner, name, wrapper)
    return undo
