"""Whether autograd records what a function computes at a place, as its contexts and decorators tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from modellint.core.pattern import pattern

from .code import Function, Value
from .script import Script

NO_GRADIENT = ("no_grad", "inference_mode")
# Contexts and decorators that leave autograd as it is.
HARMLESS = pattern(
    r".*(autocast|tqdm|progress|profile\w*|timer?|record\w*|open|writer|log\w*|device|stream|warnings|suppress\w*"
    r"|nullcontext|redirect_\w+|join|anomaly|nvtx|lock|method|property|wraps|cache|main|command|option|argument"
    r"|override|final|jit|compile|overload|torchrun|task|fixture|parametrize|mark)",
    re.IGNORECASE,
)
FREEZES = pattern(r"(\w*_)?(un)?(freeze|frozen)(_\w*)?|\w*requires_grad\w*|toggle_grad")


@lru_cache(20_000)
def recorded(function: Function, block: int) -> bool | None:
    """None if something is around the block, or decorates the function, of which that is not known."""
    around = (function.blocks[b] for b in function.enclosing(block))
    contexts = [b.value for b in around if b.kind == "with" and b.value is not None]
    return _first(contexts, _of_decorators(function))


def handled(script: Script) -> bool:
    """Whether the file turns gradients on or off in another way than by a context: of parameters, of all."""
    names = {"set_grad_enabled", "requires_grad_"} & script.attributes or any(map(FREEZES.fullmatch, script.called))
    frozen = "requires_grad" in script.attributes and any(
        e.kind == "assign" and e.name.endswith("requires_grad") for f in script.functions for e in f.events
    )
    return bool(names) or frozen or any(name == "volatile" for call in script.calls for name, _ in call.keywords)


def within(outer: bool | None, inner: bool | None) -> bool | None:
    """What holds inside `inner`, which itself lies in `outer`."""
    return False if outer is False or inner is False else None if outer is None or inner is None else True


def is_veiled(decorator: Value) -> bool:
    """Whether nothing is known of what a decorator does."""
    known = decorator.method in (*NO_GRADIENT, "set_grad_enabled", "enable_grad")
    return not known and HARMLESS.fullmatch(decorator.method) is None


def _of_decorators(function: Function) -> bool | None:
    return _first(function.decorators, True)


def _first(values: Iterable[Value], outer: bool | None) -> bool | None:
    """The innermost value that sets the mode decides, as far as all inside it are known."""
    known = True
    for value in values:
        name = value.method
        if name in NO_GRADIENT:
            return False
        if name == "set_grad_enabled":
            given = value.argument(0, "mode")
            return given.constant if given is not None and isinstance(given.constant, bool) else None
        if name == "enable_grad":
            return True if known else None
        known = known and HARMLESS.fullmatch(name) is not None
    return outer if known or outer is False else None
