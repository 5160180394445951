"""Which scripts can call what another one holds, as far as the names of what they import tell."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from .script import Script

FEW = 3  # functions of one name
Held = Mapping[str, set[int]]  # scripts by a name


class Holders:
    """Scripts that hold something, with their own names and those of their packages, which may hand it on."""

    __slots__ = ("modules", "packages", "scripts")

    def __init__(self) -> None:
        self.scripts: set[int] = set()
        self.modules: set[str] = set()
        self.packages: set[str] = set()

    def named(self, words: list[str]) -> bool:
        """Whether one of them is meant by the words of an import."""
        return not self.modules.isdisjoint(words) or not self.packages.isdisjoint(words)


class Sight:
    """Scripts go by numbers, in the order in which they are added."""

    def __init__(self) -> None:
        self._words: list[frozenset[str]] = []  # in what each script imports
        self._packages: list[frozenset[str]] = []  # from which it does so
        self.names: list[tuple[str, str]] = []  # its own and that of its package
        self._importing: dict[str, set[int]] = defaultdict(set)  # by a word of what is imported
        self._from: dict[str, set[int]] = defaultdict(set)  # by a package

    def add(self, script: Script) -> int:
        number, path = len(self.names), PurePath(script.path)
        words = frozenset(part for full in script.imports.values() for part in full.split("."))
        packages = frozenset(full.rpartition(".")[0].rpartition(".")[2] for full in script.imports.values())
        self._words.append(words)
        self._packages.append(packages)
        self.names.append((path.parent.name if path.stem == "__init__" else path.stem, path.parent.name))
        for table, found in ((self._importing, words), (self._from, packages)):
            for word in found:
                table[word].add(number)
        return number

    def hold(self, held: Holders, script: int) -> Iterator[tuple[str, set[int]]]:
        """Adds a script to those that hold something; gives the words by which others see it and did not see them before."""
        module, package = self.names[script]
        if script not in held.scripts:
            held.scripts.add(script)
            yield "", {script}
        if module not in held.modules:
            held.modules.add(module)
            yield module, self._importing[module]
        if package not in held.packages:
            held.packages.add(package)
            yield package, self._from[package]

    def sees(self, script: int, held: Holders) -> bool:
        """Whether a script can call what one of the others holds: it imports something of that name."""
        return (
            script in held.scripts
            or not self._words[script].isdisjoint(held.modules)
            or not self._packages[script].isdisjoint(held.packages)
        )

    def imports(self, script: int, other: int) -> bool:
        """Whether a script imports something that is called after another one, or after its package."""
        module, package = self.names[other]
        return module in self._words[script] or package in self._packages[script]

    def seen(self, script: int, modules: Held, packages: Held) -> set[int]:
        """The scripts, by their own names and by those of their packages, that a script can see, and itself."""
        found = {script}
        for words, table in ((self._words[script], modules), (self._packages[script], packages)):
            for word in words & table.keys():
                found |= table[word]
        return found


class Namesakes:
    """The functions of each name: where many can be seen, a call of an unknown object's method tells nothing."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._defined: dict[str, Counter[int]] = defaultdict(Counter)  # by the name: how many in which script
        self._modules: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._packages: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._many: set[tuple[int, str]] = set()

    def add(self, name: str, script: int) -> None:
        module, package = self._sight.names[script]
        self._defined[name][script] += 1
        self._modules[name][module].add(script)
        self._packages[name][package].add(script)

    def are_many(self, script: int, name: str) -> bool:
        if (script, name) not in self._many and name in self._defined:
            seen = self._sight.seen(script, self._modules[name], self._packages[name])
            if sum(self._defined[name][other] for other in seen) > FEW:
                self._many.add((script, name))
        return (script, name) in self._many
