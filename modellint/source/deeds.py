"""What a function does itself for a training, and which functions it calls, and how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from modellint.core.pattern import pattern
from modellint.core.record import dataclass

from .code import Function, Value
from .evaluating import Evaluating
from .project import Project
from .script import Script

CHANGES = pattern(r"zero_grad|zero_|unscale_|\w*clip\w*grad\w*|\.grad|eval")
OTHER_STEPS = pattern(r"sched|env|prof|timer|bar\b|meter", re.IGNORECASE)
PLAIN = ("local", "own", "method")  # ways to call a function that no import tells


@dataclass(frozen=True, slots=True)
class Deed:
    kinds: frozenset[str]  # "backward", "step", "evaluation", "change"
    used: tuple[tuple[str, str], ...]  # the names that it calls, and how: one of PLAIN, or through which import


class Deeds:
    """Each function is read once."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._evaluating: dict[int, Evaluating] = {}
        self._known: dict[int, Deed] = {}

    def of(self, function: Function, script: Script) -> Deed:
        known = self._known.get(id(function))
        if known is None:
            used = tuple(dict.fromkeys(self._used(function, script)))
            known = self._known[id(function)] = Deed(frozenset(self._kinds(function, script)), used)
        return known

    def _used(self, function: Function, script: Script) -> Iterator[tuple[str, str]]:
        """The names that it calls, and those of the functions that it defines, perhaps to hand them on."""
        for event in function.events:
            if event.value is not None and event.kind == "call" and event.value.method:
                yield event.value.method, self._way(event.value, script)
            elif event.value is not None and event.value.kind == "function":
                yield event.value.name.rpartition(".")[2], "local"

    def _way(self, call: Value, script: Script) -> str:
        """How a function is called: "local" by its own name, "own" of `self`, as a "method", or through which import."""
        around = call.name.rpartition(".")[0]
        if call.base is None and around in ("", "self"):
            return "own" if around else "local"
        return around if call.base is None and self.project.imported(script, call.name) else "method"

    def _kinds(self, function: Function, script: Script) -> set[str]:
        found = {kind for call in function.calls if (kind := _kind(call))}
        cleared = any(event.name.endswith(".grad") for event in function.events)
        evaluating = self._evaluating.get(id(script))
        if evaluating is None:
            evaluating = self._evaluating[id(script)] = Evaluating(script)
        if evaluating.evaluates(function):
            found.add("evaluation")
        return found | {"change"} if found or cleared else found


def called_as(function: Function) -> str:
    """A class that acts when it is made or entered is called by its own name."""
    *above, last = function.name.split(".")
    return above[-1] if last in ("__init__", "__enter__", "__exit__") and above else last


def _kind(call: Value) -> str:
    name = call.method
    if name in ("backward", "manual_backward"):
        return "backward"
    if name in ("step", "optimizer_step"):
        return "step" if name == "optimizer_step" or _may_step(call) else ""
    return "change" if _changes(name) else ""


@cache
def _changes(name: str) -> bool:
    return CHANGES.fullmatch(name) is not None


def _may_step(call: Value) -> bool:
    """Whether it may be an optimizer that is stepped: not a schedule, an environment, a profiler or the function's own object."""
    receiver = str(call.receiver or "")
    return receiver not in ("", "self") and OTHER_STEPS.search(receiver.rpartition(".")[2]) is None
