"""The functions that come to a backward(), a step() or an evaluation through what they call, by name and import."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePath

from .code import Function, Value
from .evaluating import Evaluating
from .project import Project
from .script import Script

CHANGES = re.compile(r"zero_grad|zero_|unscale_|\w*clip\w*grad\w*|\.grad|eval")
OTHER_STEPS = re.compile(r"sched|env|prof|timer|bar\b|meter", re.IGNORECASE)

Node = tuple[int, str, str]  # a script, a function's name, and what it comes to


class Reach:
    def __init__(self, project: Project) -> None:
        self.project = project
        self._read = 0  # scripts that are known
        self._known: list[tuple[frozenset[str], str]] = []  # what each script imports, and the name it is imported by
        self._callers: dict[str, set[tuple[int, str]]] = defaultdict(set)
        self._reached: dict[str, set[tuple[int, str]]] = defaultdict(set)  # by a function's name: where, and what
        self._called: dict[tuple[int, str], set[str]] = defaultdict(set)
        self._index: dict[int, int] = {}
        self._evaluating: list[Evaluating] = []

    def names(self, script: Script, kind: str) -> set[str]:
        """The names whose call in this script comes to `kind`."""
        self._catch_up()
        return self._called[self._index[id(script)], kind]

    def comes_to(self, function: Function, script: Script, kind: str) -> bool:
        names = self.names(script, kind)
        return kind in self._direct(function, script) or any(name in names for name in _used(function))

    def _catch_up(self) -> None:
        new = self.project.scripts[self._read :]
        waiting = [node for script in new for node in self._add(script)]
        self._read = len(self.project.scripts)
        while waiting:
            owner, name, kind = node = waiting.pop()
            if (owner, kind) not in self._reached[name]:
                self._reached[name].add((owner, kind))
                waiting.extend(self._above(node))

    def _add(self, script: Script) -> Iterator[Node]:
        place = self._index[id(script)] = len(self._known)
        parts = frozenset(part for full in script.imports.values() for part in full.split("."))
        path = PurePath(script.path)
        self._evaluating.append(Evaluating(script))
        self._known.append((parts, path.parent.name if path.stem == "__init__" else path.stem))
        for function in script.functions:
            name = _called_as(function)
            for other in set(_used(function)):
                self._callers[other].add((place, name))
                yield from self._below(place, name, other)
            yield from ((place, name, kind) for kind in self._direct(function, script))

    def _below(self, place: int, name: str, called: str) -> Iterator[Node]:
        """What a function of a new script comes to through functions that are known to come to it."""
        for owner, kind in self._reached.get(called, ()):
            if self._sees(place, owner):
                self._called[place, kind].add(called)
                yield place, name, kind

    def _above(self, node: Node) -> Iterator[Node]:
        owner, name, kind = node
        for place, caller in self._callers[name]:
            if self._sees(place, owner):
                self._called[place, kind].add(name)
                yield place, caller, kind

    def _sees(self, place: int, owner: int) -> bool:
        """Whether a script can call what another one holds: it imports something of that name."""
        return place == owner or self._known[owner][1] in self._known[place][0]

    def _direct(self, function: Function, script: Script) -> set[str]:
        found = {kind for call in function.calls if (kind := self._kind(call))}
        cleared = any(event.name.endswith(".grad") for event in function.events)
        if self._evaluating[self._index[id(script)]].evaluates(function):
            found.add("evaluation")
        return found | {"change"} if found or cleared else found

    def _kind(self, call: Value) -> str:
        name = call.method
        if name in ("backward", "manual_backward"):
            return "backward"
        if name in ("step", "optimizer_step"):
            return "step" if name == "optimizer_step" or _may_step(call) else ""
        return "change" if CHANGES.fullmatch(name) else ""


def _may_step(call: Value) -> bool:
    """Whether it may be an optimizer that is stepped: not a schedule, an environment, a profiler or the function's own object."""
    receiver = str(call.receiver or "")
    return receiver not in ("", "self") and OTHER_STEPS.search(receiver.rpartition(".")[2]) is None


def _used(function: Function) -> Iterator[str]:
    """The names that it calls, and those of the functions that it defines, perhaps to hand them on."""
    for event in function.events:
        if event.value is not None and event.kind == "call" and event.value.method:
            yield event.value.method
        elif event.value is not None and event.value.kind == "function":
            yield event.value.name.rpartition(".")[2]


def _called_as(function: Function) -> str:
    """A class that acts when it is made is called by its own name."""
    *above, last = function.name.split(".")
    return above[-1] if last == "__init__" and above else last
