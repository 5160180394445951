"""The functions that come to a backward(), a step() or an evaluation through what they call, by name and import."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from modellint.core.pattern import pattern

from .code import Function, Value
from .evaluating import Evaluating
from .project import LIBRARIES, Project
from .script import Script
from .sight import Holders, Namesakes, Sight
from .vocabulary import TENSOR_METHODS

CHANGES = pattern(r"zero_grad|zero_|unscale_|\w*clip\w*grad\w*|\.grad|eval")
OTHER_STEPS = pattern(r"sched|env|prof|timer|bar\b|meter", re.IGNORECASE)
# Methods of lists, strings and tensors: such a call of an unknown object says nothing of a project's own method.
COMMON = frozenset((*dir(list), *dir(str), *TENSOR_METHODS))
FRAMEWORKS = frozenset({"Module", "Optimizer", "Function", "Dataset"})  # what derives from these inherits no training
PLAIN = ("local", "own", "method")  # ways to call a function that no import tells

Node = tuple[int, str, str]  # a script, a function's name, and what it comes to


class Reach:
    def __init__(self, project: Project) -> None:
        self.project = project
        self._read = 0  # scripts that are known
        self._sight = Sight()
        self._stars: list[bool] = []  # whether each script imports all names of some file
        # By a name that is called: in which scripts, by which functions, and how; the same of imports, by their words too.
        self._callers: dict[str, dict[int, set[tuple[str, str]]]] = defaultdict(dict)
        self._importers: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._namesakes = Namesakes(self._sight)
        self._reached: dict[str, dict[str, Holders]] = defaultdict(dict)  # by a function's name and what it comes to
        self._nodes: set[Node] = set()
        self._called: dict[tuple[int, str], set[str]] = defaultdict(set)
        self._uses: dict[tuple[int, str], set[tuple[str, str]]] = defaultdict(set)
        self._index: dict[int, int] = {}
        self._functions: dict[int, tuple[frozenset[str], tuple[tuple[str, str], ...]]] = {}
        self._evaluating: list[Evaluating] = []
        # By the name of a class: the scripts that derive from it, and what its methods come to.
        self._deriving: dict[str, set[int]] = defaultdict(set)
        self._inherited: dict[str, set[Node]] = defaultdict(set)
        self._classes: list[set[str]] = []  # of each script
        self._owners: dict[tuple[int, str], set[str]] = defaultdict(set)  # the classes that have a method

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
        waiting = [node for script in new for node in self._add(script)]
        self._read += len(new)
        while waiting:
            node = waiting.pop()
            if node not in self._nodes:
                self._nodes.add(node)
                waiting.extend(self._above(node))

    def _add(self, script: Script) -> Iterator[Node]:
        place = self._index[id(script)] = self._sight.add(script)
        self._stars.append(any(name.startswith("*") for name in script.imports))
        self._evaluating.append(Evaluating(script))
        for function in script.functions:
            self._namesakes.add(_called_as(function), place)
            if function.owner:
                self._owners[place, _called_as(function)].add(function.owner)
        self._classes.append({class_.name for class_ in script.classes})
        for base in {base.method for class_ in script.classes for base in class_.bases}:
            self._deriving[base].add(place)
            yield from ((place, *node[1:]) for node in self._inherited[base] if self._sight.imports(place, node[0]))
        for function in script.functions:
            name = _called_as(function)
            direct, used = self._read_of(function, script)
            for other, way in used:
                self._callers[other].setdefault(place, set()).add((name, way))
                for word in () if way in PLAIN else way.split("."):
                    self._importers[other, word].add(place)
                for kind in self._reached.get(other, ()):
                    yield from self._through(place, other, kind, name, way)
            yield from ((place, name, kind) for kind in direct)

    def _above(self, node: Node) -> Iterator[Node]:
        """What comes to the same through a function, by the callers that may see it as the first one of its name."""
        owner, name, kind = node
        callers = self._callers[name]
        held = self._reached[name].setdefault(kind, Holders())
        for word, seeing in self._sight.hold(held, owner):
            for place in callers.keys() & seeing | self._importers.get((name, word), set()):
                for caller, way in callers[place]:
                    yield from self._through(place, name, kind, caller, way)
        for class_ in self._owners.get((owner, name), set()) - FRAMEWORKS:
            self._inherited[class_].add(node)
            yield from ((heir, name, kind) for heir in self._deriving[class_] if self._sight.imports(heir, owner))
        for place in callers if name not in COMMON else ():
            for caller, way in callers[place] if self._derives(owner, place) else ():
                if way == "own":
                    yield from self._through(place, name, kind, caller, way)

    def _derives(self, heir: int, place: int) -> bool:
        """Whether a script has a class that derives from one of another script."""
        derived = any(heir in self._deriving[class_] for class_ in self._classes[place] - FRAMEWORKS)
        return derived and self._sight.imports(heir, place)

    def _through(self, place: int, name: str, kind: str, caller: str, way: str) -> Iterator[Node]:
        if (name, way) in self._uses[place, kind]:
            yield place, caller, kind
        elif self._calls(place, name, kind, way):
            self._called[place, kind].add(name)
            self._uses[place, kind].add((name, way))
            yield place, caller, kind

    def _calls(self, place: int, name: str, kind: str, way: str) -> bool:
        """Whether a call in a script may be of one of the functions that come to `kind`, as far as its name tells."""
        held = self._reached[name][kind]
        if kind == "change":
            return self._sight.sees(place, held)
        if way != "method" and place in held.scripts:
            return True
        if way == "own" and name not in COMMON and any(self._derives(owner, place) for owner in held.scripts):
            return True  # a method that a class which derives from this file's may define
        if way == "local":
            return self._stars[place] and self._sight.sees(place, held)
        if way in PLAIN:
            return name not in COMMON and self._sight.sees(place, held) and not self._namesakes.are_many(place, name)
        around = way.split(".")
        return around[0] not in LIBRARIES and held.named(around)

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
