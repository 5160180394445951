"""The functions that come to a backward(), a step() or an evaluation through what they call, by name and import."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import PurePath

from modellint.core.pattern import pattern

from .code import Function, Value
from .evaluating import Evaluating
from .project import LIBRARIES, Project
from .script import Script
from .vocabulary import TENSOR_METHODS

CHANGES = pattern(r"zero_grad|zero_|unscale_|\w*clip\w*grad\w*|\.grad|eval")
OTHER_STEPS = pattern(r"sched|env|prof|timer|bar\b|meter", re.IGNORECASE)
# Methods of lists, strings and tensors: such a call of an unknown object says nothing of a project's own method.
COMMON = frozenset((*dir(list), *dir(str), *TENSOR_METHODS))
NAMESAKES = 3  # methods of one name that a file can see; of more than these, a call of an unknown object tells nothing

Node = tuple[int, str, str]  # a script, a function's name, and what it comes to


class Reach:
    def __init__(self, project: Project) -> None:
        self.project = project
        self._read = 0  # scripts that are known
        # What each script imports, and from which packages; its own name and that of its package, which may hand it on.
        self._known: list[tuple[frozenset[str], frozenset[str], str, str]] = []
        self._stars: list[bool] = []  # whether it imports all names of some file
        self._callers: dict[str, set[tuple[int, str, str]]] = defaultdict(set)
        self._defined: dict[str, list[int]] = defaultdict(list)  # by a function's name: where
        self._vague: dict[tuple[int, str], bool] = {}
        self._reached: dict[str, set[tuple[int, str]]] = defaultdict(set)  # by a function's name: where, and what
        self._called: dict[tuple[int, str], set[str]] = defaultdict(set)
        self._uses: dict[tuple[int, str], set[tuple[str, str]]] = defaultdict(set)
        self._index: dict[int, int] = {}
        self._functions: dict[int, tuple[frozenset[str], tuple[tuple[str, str], ...]]] = {}
        self._evaluating: list[Evaluating] = []

    def names(self, script: Script, kind: str) -> set[str]:
        """The names whose call in this script comes to `kind`."""
        self._catch_up()
        return self._called[self._index[id(script)], kind]

    def comes_to(self, function: Function, script: Script, kind: str) -> bool:
        self._catch_up()
        direct, used = self._read_of(function, script)
        return kind in direct or not self._uses[self._index[id(script)], kind].isdisjoint(used)

    def _catch_up(self) -> None:
        new = self.project.scripts[self._read :]
        if not new:
            return
        self._vague.clear()
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
        packages = frozenset(full.rpartition(".")[0].rpartition(".")[2] for full in script.imports.values())
        self._stars.append(any(name.startswith("*") for name in script.imports))
        path = PurePath(script.path)
        self._evaluating.append(Evaluating(script))
        name = path.parent.name if path.stem == "__init__" else path.stem
        self._known.append((parts, packages, name, path.parent.name))
        for function in script.functions:
            self._defined[_called_as(function)].append(place)
        for function in script.functions:
            name = _called_as(function)
            direct, used = self._read_of(function, script)
            for other, way in used:
                self._callers[other].add((place, name, way))
                yield from self._below(place, name, other, way)
            yield from ((place, name, kind) for kind in direct)

    def _below(self, place: int, name: str, called: str, way: str) -> Iterator[Node]:
        """What a function of a new script comes to through functions that are known to come to it."""
        for owner, kind in self._reached.get(called, ()):
            if self._calls(place, owner, called, way, kind):
                self._note(place, kind, called, way)
                yield place, name, kind

    def _above(self, node: Node) -> Iterator[Node]:
        owner, name, kind = node
        for place, caller, way in self._callers[name]:
            if self._calls(place, owner, name, way, kind):
                self._note(place, kind, name, way)
                yield place, caller, kind

    def _calls(self, place: int, owner: int, name: str, way: str, kind: str) -> bool:
        """Whether a call in one script may be of a function in another, as far as its name tells."""
        if kind == "change" or (way != "method" and place == owner):
            return self._sees(place, owner)
        if way == "local":
            return self._stars[place] and self._sees(place, owner)
        if way in ("own", "method"):
            return name not in COMMON and self._sees(place, owner) and not self._is_vague(place, name)
        _, _, module, package = self._known[owner]
        around = way.split(".")
        return around[0] not in LIBRARIES and not {module, package}.isdisjoint(around)

    def _note(self, place: int, kind: str, name: str, way: str) -> None:
        self._called[place, kind].add(name)
        self._uses[place, kind].add((name, way))

    def _sees(self, place: int, owner: int) -> bool:
        """Whether a script can call what another one holds: it imports something of that name."""
        parts, packages, _, _ = self._known[place]
        _, _, name, package = self._known[owner]
        return place == owner or name in parts or package in packages

    def _is_vague(self, place: int, name: str) -> bool:
        """Whether a method's name is too common among what a script can see to tell which one it calls."""
        if (place, name) not in self._vague:
            seen = sum(self._sees(place, owner) for owner in self._defined[name])
            self._vague[place, name] = seen > NAMESAKES
        return self._vague[place, name]

    def _used(self, function: Function, script: Script) -> Iterator[tuple[str, str]]:
        """The names that it calls, and those of the functions that it defines, perhaps to hand them on; with how each is called."""
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

    def _read_of(self, function: Function, script: Script) -> tuple[frozenset[str], tuple[tuple[str, str], ...]]:
        """What a function does itself, and what it uses; each read once."""
        known = self._functions.get(id(function))
        if known is None:
            known = frozenset(self._direct(function, script)), tuple(dict.fromkeys(self._used(function, script)))
            self._functions[id(function)] = known
        return known

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
        return "change" if _changes(name) else ""


@cache
def _changes(name: str) -> bool:
    return CHANGES.fullmatch(name) is not None


def _may_step(call: Value) -> bool:
    """Whether it may be an optimizer that is stepped: not a schedule, an environment, a profiler or the function's own object."""
    receiver = str(call.receiver or "")
    return receiver not in ("", "self") and OTHER_STEPS.search(receiver.rpartition(".")[2]) is None


def _called_as(function: Function) -> str:
    """A class that acts when it is made or entered is called by its own name."""
    *above, last = function.name.split(".")
    return above[-1] if last in ("__init__", "__enter__", "__exit__") and above else last
