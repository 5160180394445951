"""Wrappers around functions of torch, and hooks; `remove` undoes every one."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, List, Tuple

import torch
from torch.jit import _trace

from . import surroundings

is_compiling: Callable[[], bool] = getattr(torch.compiler, "is_compiling", torch._utils.is_compiling)
is_tracing: Callable[[], bool] = _trace.is_tracing
Around = Callable[[Callable[..., Any], Tuple[Any, ...], "dict[str, Any]"], Any]


def is_blind() -> bool:
    """Whether nothing may be read: torch.compile or torch.jit traces what it finds, or a CUDA graph is captured, which
    a transfer ends.
    """
    return is_compiling() or is_tracing() or is_capturing()


def is_capturing() -> bool:
    return surroundings.has_taken_gpus() and torch.cuda.is_current_stream_capturing()


class Patches:
    """A wrapper that the user has bound to a name of his own passes through once the patches are removed."""

    def __init__(self) -> None:
        self._replaced: List[Tuple[Any, str, Any, Any]] = []
        self._handles: List[Any] = []
        self._active = True

    def around(self, owner: Any, name: str, act: Around) -> None:
        """`owner.name(...)` becomes `act(original, args, kwargs)`."""
        original = inspect.getattr_static(owner, name)

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not self._active or is_blind():
                return original(*args, **kwargs)
            return act(original, args, kwargs)

        self.put(owner, name, wrapper)

    def put(self, owner: Any, name: str, value: Any) -> None:
        self._replaced.append((owner, name, value, inspect.getattr_static(owner, name)))
        setattr(owner, name, value)

    def hook(self, handle: Any) -> None:
        self._handles.append(handle)

    def remove(self) -> None:
        self._active = False
        for owner, name, value, original in reversed(self._replaced):
            if inspect.getattr_static(owner, name) is value:
                setattr(owner, name, original)
        for handle in self._handles:
            handle.remove()
        self._replaced, self._handles = [], []


class Watch:
    """One kind of event that the recorder listens to."""

    def __init__(self, recorder: Any) -> None:
        self.recorder = recorder

    def apply(self, patches: Patches) -> None:
        """Puts the wrappers in place."""


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """A fault of a watch becomes a warning record: it must never break the user's run."""

    @functools.wraps(method)
    def call(self: Watch, *args: Any, **kwargs: Any) -> Any:
        if is_blind():
            return None
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.recorder.notes.failed(method.__qualname__, error)
            return None

    return call


def argument(args: Tuple[Any, ...], kwargs: "dict[str, Any]", position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)
