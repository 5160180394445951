"""Which calls may lead to a change of gradients or weights, by name: only these are worth following."""

from __future__ import annotations

import re
from collections import defaultdict

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
        self._read = 0  # scripts whose functions are known
        self._callers: dict[str, set[str]] = defaultdict(set)
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
        for script in scripts[self._read :]:
            self._add(script)
        self._read = len(scripts)
        return self._names

    def _add(self, script: Script) -> None:
        waiting = []
        for function in (function for function in script.functions if function.kind == "function"):
            name, called = _called_as(function), {call.method for call in function.calls}
            for other in called:
                self._callers[other].add(name)
            if called & self._names or any(DIRECT.fullmatch(other) for other in called):
                waiting.append(name)
        while waiting:
            name = waiting.pop()
            if name not in self._names:
                self._names.add(name)
                waiting.extend(self._callers[name])


def _called_as(function: Function) -> str:
    *above, last = function.name.split(".")
    return above[-1] if last == "__init__" and above else last
