"""The functions that come to a backward(), a step() or an evaluation through what they call, by name and import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .code import Function
from .deeds import PLAIN, Deeds, called_as
from .heirs import Heirs, Node
from .project import LIBRARIES, Project
from .script import Script
from .sight import Holders, Namesakes, Sight
from .vocabulary import TENSOR_METHODS

# Methods of lists, strings and tensors: such a call of an unknown object says nothing of a project's own method.
COMMON = frozenset((*dir(list), *dir(str), *TENSOR_METHODS))


class Reach:
    def __init__(self, project: Project) -> None:
        self.project = project
        self._read = 0  # scripts that are known
        self._sight = Sight()
        self._deeds = Deeds(project)
        self._heirs = Heirs(self._sight)
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

    def names(self, script: Script, kind: str) -> set[str]:
        """The names whose call in this script comes to `kind`."""
        self._catch_up()
        return self._called[self._index[id(script)], kind]

    def comes_to(self, function: Function, script: Script, kind: str) -> bool:
        self._catch_up()
        deed = self._deeds.of(function, script)
        return kind in deed.kinds or not self._uses[self._index[id(script)], kind].isdisjoint(deed.used)

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
        for function in script.functions:
            self._namesakes.add(called_as(function), place)
        yield from self._heirs.add(script, place)
        for function in script.functions:
            name, deed = called_as(function), self._deeds.of(function, script)
            for other, way in deed.used:
                self._callers[other].setdefault(place, set()).add((name, way))
                for word in () if way in PLAIN else way.split("."):
                    self._importers[other, word].add(place)
                for kind in self._reached.get(other, ()):
                    yield from self._through(place, other, kind, name, way)
            yield from ((place, name, kind) for kind in deed.kinds)

    def _above(self, node: Node) -> Iterator[Node]:
        """What comes to the same through a function, by the callers that may see it as the first one of its name."""
        owner, name, kind = node
        callers = self._callers[name]
        held = self._reached[name].setdefault(kind, Holders())
        for word, seeing in self._sight.hold(held, owner):
            for place in callers.keys() & seeing | self._importers.get((name, word), set()):
                for caller, way in callers[place]:
                    yield from self._through(place, name, kind, caller, way)
        yield from self._heirs.of(node)
        for place in callers if name not in COMMON else ():
            for caller, way in callers[place] if self._heirs.derives(owner, place) else ():
                if way == "own":
                    yield from self._through(place, name, kind, caller, way)

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
        if way == "own" and name not in COMMON and any(self._heirs.derives(owner, place) for owner in held.scripts):
            return True  # a method that a class which derives from this file's may define
        if way == "local":
            return self._stars[place] and self._sight.sees(place, held)
        if way in PLAIN:
            return name not in COMMON and self._sight.sees(place, held) and not self._namesakes.are_many(place, name)
        around = way.split(".")
        return around[0] not in LIBRARIES and held.named(around)
