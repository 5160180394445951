"""Which scripts of a project may share objects: those that imports link, either way, as far as names tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from .project import LIBRARIES, Project, module_name
from .script import Script

DYNAMIC = frozenset({"importlib", "hydra"})  # where these are used, names do not tell what is imported
Links = Mapping[int, Mapping[int, Script]]


class Relations:
    def __init__(self, project: Project) -> None:
        self.project = project
        self._groups: Mapping[int, Sequence[Script]] = {}
        self._read = 0  # scripts that are grouped

    def of(self, script: Script) -> Sequence[Script]:
        """The script itself, and all that may hold an object that it makes or make one that it holds."""
        if self._read != len(self.project.scripts):
            self._groups, self._read = _grouped(self.project.scripts), len(self.project.scripts)
        return self._groups[id(script)]


def _grouped(scripts: Sequence[Script]) -> Mapping[int, Sequence[Script]]:
    links = _links(scripts)
    groups: dict[int, Sequence[Script]] = {}
    for script in scripts:
        if id(script) not in groups:
            linked = list(_reached(script, links))
            group = scripts if any(DYNAMIC & set(_imports(member)) for member in linked) else linked
            groups.update((id(member), group) for member in linked)
    return groups


def _reached(start: Script, links: Links) -> Iterator[Script]:
    seen, waiting = {id(start)}, [start]
    while waiting:
        script = waiting.pop()
        yield script
        waiting += [other for key, other in links[id(script)].items() if key not in seen]
        seen.update(links[id(script)])


def _links(scripts: Sequence[Script]) -> Links:
    named, links = defaultdict[str, list[Script]](list), defaultdict[int, dict[int, Script]](dict)
    for script in scripts:
        named[module_name(script.path)].append(script)
    for script in scripts:
        for name in named.keys() & set(_imports(script)):
            beside = [s for s in named[name] if PurePath(s.path).parent == PurePath(script.path).parent]
            for other in beside or named[name]:
                links[id(script)][id(other)] = other
                links[id(other)][id(script)] = script
    return links


def _imports(script: Script) -> Iterator[str]:
    """The words in what a script imports, without what well-known libraries have."""
    for full in script.imports.values():
        words = full.split(".")
        yield from words if words[0] not in LIBRARIES else ()
