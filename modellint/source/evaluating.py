"""Whether a function looks as if it evaluated a model, before anything in it is looked up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint.core.pattern import pattern

from .code import Function, Value
from .script import Script

NO_GRADIENT = ("no_grad", "inference_mode")
CALLED_SO = pattern(r"(.*_)?(evaluate|eval|test|validate|valid|validation|val)(_.*)?", re.IGNORECASE)
MODELS = ("model", "net", "network")


class Evaluating:
    def __init__(self, script: Script) -> None:
        self._functions = {function.name for function in script.functions if function.kind == "function"}
        self._globals = _bound(script.functions[0]) if script.functions else set()

    def evaluates(self, function: Function) -> bool:
        """A loop that calls an object, and a call, a context, a decorator or a name as evaluations have."""
        return _is_marked(function) and any(self._is_object(call, function) for call in _repeated(function))

    def _is_object(self, call: Value, function: Function) -> bool:
        head, _, name = called_as(call).rpartition(".")
        if name in MODELS:
            return True
        if head == "self":
            return f"{function.owner}.{name}" not in self._functions
        given = (p.name for p in function.parameters)
        return not head and (name in self._globals or name in given or name in _bound(function))


def called_as(call: Value) -> str:
    """The name of what is called: `model.forward(x)` calls the model."""
    head = call.name.removesuffix(".forward")
    return call.name if head in ("self", "super") else head


def _is_marked(function: Function) -> bool:
    if any(call.method == "eval" and call.receiver is not None for call in function.calls):
        return True
    contexts = (block.value for block in function.blocks if block.kind == "with" and block.value is not None)
    off = any(value.method in NO_GRADIENT for value in (*contexts, *function.decorators))
    return off or CALLED_SO.fullmatch(function.name.rpartition(".")[2]) is not None


def _repeated(function: Function) -> Iterator[Value]:
    """The calls in its loops."""
    loops = {b for b in range(len(function.blocks)) if any(function.blocks[a].is_loop for a in function.enclosing(b))}
    return (e.value for e in function.events if e.kind == "call" and e.value is not None and e.block in loops)


def _bound(function: Function) -> set[str]:
    """The names that it binds to what a call makes, or to an item."""
    assigned = (e for e in function.events if e.kind == "assign" and e.value is not None)
    return {e.name for e in assigned if e.value is not None and e.value.kind in ("call", "item", "element")}
