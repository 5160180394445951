"""Buffers: what a module registers by a name."""

from __future__ import annotations

from .resolve import Resolver
from .scope import Source


def registered(resolver: Resolver, made: Source, name: str) -> Source | None:
    """What `self.name` holds that a method of the class hands to `register_buffer`."""
    for frame in resolver.members.beside(made.frame):
        for at, event in enumerate(frame.function.events):
            call = event.value
            if event.kind == "call" and call is not None and call.method == "register_buffer":
                named, given = call.argument(0, "name"), call.argument(1, "tensor")
                if given is not None and named is not None and named.constant == name:
                    return Source(given, frame, at)
    return None
