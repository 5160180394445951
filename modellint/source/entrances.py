"""The functions of the project that a call runs, each as a frame."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Function, Value
from .resolve import Resolver
from .scope import Callee, Frame, Source


class Entrances:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def first(self, call: Source, *, objects: bool = True) -> Frame | None:
        """Of the first thing that it may call; not of an `object`'s `forward` or `__call__` where they do not count."""
        callee = next(iter(self.resolver.calls.callees(call)), None)
        return self.resolver.calls.enter(callee, call) if callee and (objects or callee.made is None) else None

    def any(self, call: Source) -> Frame | None:
        """Of whatever of these can be read; where an object is made its `__init__`."""
        callees = self.resolver.calls.callees(call)
        frames = (self.resolver.calls.enter(callee, call) or self._constructor(callee, call) for callee in callees)
        return next((frame for frame in frames if frame is not None), None)

    def _constructor(self, callee: Callee, call: Source) -> Frame | None:
        if callee.class_ is None or callee.script is None:
            return None
        return next(self.resolver.members.methods(callee.script, callee.class_, "__init__", call), None)

    def closures(self, step: Source) -> Iterator[Frame]:
        """What `step(closure)` evaluates first."""
        given = step.value.argument(0, "closure")
        for made in self.resolver.of(step.of(given)) if given is not None else []:
            function = self.resolver.project.function(made.frame.script, made.value.name)
            if made.value.kind == "function" and function is not None:
                yield Frame(made.frame.script, function, outer=made.frame, path=made.frame.path)


def is_wrapper(frame: Frame) -> bool:
    """A function that was made for another one: by a decorator."""
    return frame.outer is not None and any(given.value.kind == "function" for given in frame.outer.arguments.values())


def sets_mode(function: Function, call: Value) -> bool:
    """Whether `train()` or `eval()` of a module is its own and does what torch's does, besides more."""
    return call.method in ("eval", "train") and f"super.{call.method}" in [_plain(inner) for inner in function.calls]


def _plain(call: Value) -> str:
    return f"super.{call.method}" if call.receiver is not None and call.receiver.name == "super" else call.name
