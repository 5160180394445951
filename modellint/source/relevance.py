"""Which calls may lead to a change of gradients or weights, by name: only these are worth following."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from .code import Function, Value
from .project import Project
from .script import Script
from .vocabulary import sounds_like_optimizer

DIRECT = re.compile(r"zero_grad|zero_|step|backward|manual_backward|unscale_|\w*clip\w*grad\w*")
# A helper of such a name that cannot be found may clear gradients.
CLEARING = re.compile(r"\w*(zero|reset|clear)\w*", re.IGNORECASE)


class Relevance:
    def __init__(self, project: Project) -> None:
        self.project = project
        self._seen = 0
        self._names: set[str] = set()

    def call(self, call: Value, script: Script) -> bool:
        name = call.method
        if DIRECT.fullmatch(name) or CLEARING.fullmatch(name) or name in self.names:
            return True
        if any(a.kind == "name" and sounds_like_optimizer(a.name) for a in call.arguments):
            return True
        return script.imported(call.name) and self.project.locate(script, call.name) is not None and name in self.names

    def function(self, function: Function) -> bool:
        return any(DIRECT.fullmatch(call.method) or call.method in self.names for call in function.calls)

    @property
    def names(self) -> set[str]:
        """Of functions, and of classes that act when they are made, in all scripts loaded by now."""
        scripts = self.project.scripts
        if len(scripts) != self._seen:
            self._seen = len(scripts)
            calls: dict[str, set[str]] = defaultdict(set)
            for function in (f for script in scripts for f in script.functions if f.kind == "function"):
                calls[_called_as(function)].update(call.method for call in function.calls)
            self._names = _closure(calls)
        return self._names


def _called_as(function: Function) -> str:
    *above, last = function.name.split(".")
    return above[-1] if last == "__init__" and above else last


def _closure(calls: Mapping[str, set[str]]) -> set[str]:
    """The names that call DIRECT ones, or names that do."""
    callers: dict[str, set[str]] = defaultdict(set)
    for name, called in calls.items():
        for other in called:
            callers[other].add(name)
    found: set[str] = set()
    waiting = [name for name, called in calls.items() if any(DIRECT.fullmatch(other) for other in called)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(callers[name])
    return found
