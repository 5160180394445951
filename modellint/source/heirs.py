"""Methods that a class has from a class of another file, as far as names and imports tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .deeds import called_as
from .script import Script
from .sight import Sight

FRAMEWORKS = frozenset({"Module", "Optimizer", "Function", "Dataset"})  # what derives from these inherits no training

Node = tuple[int, str, str]  # a script, a function's name, and what it comes to


class Heirs:
    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        # By the name of a class: the scripts that derive from it, and what its methods come to.
        self._deriving: dict[str, set[int]] = defaultdict(set)
        self._inherited: dict[str, set[Node]] = defaultdict(set)
        self._classes: list[set[str]] = []  # of each script
        self._owners: dict[tuple[int, str], set[str]] = defaultdict(set)  # the classes that have a method

    def add(self, script: Script, place: int) -> Iterator[Node]:
        """What the classes of the script have from those that are known."""
        for function in script.functions:
            if function.owner:
                self._owners[place, called_as(function)].add(function.owner)
        self._classes.append({class_.name for class_ in script.classes})
        for base in {base.method for class_ in script.classes for base in class_.bases}:
            self._deriving[base].add(place)
            yield from ((place, *node[1:]) for node in self._inherited[base] if self._sight.imports(place, node[0]))

    def of(self, node: Node) -> Iterator[Node]:
        """What others have from a method, now and by what is added later."""
        owner, name, kind = node
        for class_ in self._owners.get((owner, name), set()) - FRAMEWORKS:
            self._inherited[class_].add(node)
            yield from ((heir, name, kind) for heir in self._deriving[class_] if self._sight.imports(heir, owner))

    def derives(self, heir: int, place: int) -> bool:
        """Whether a script has a class that derives from one of another script."""
        derived = any(heir in self._deriving[class_] for class_ in self._classes[place] - FRAMEWORKS)
        return derived and self._sight.imports(heir, place)
