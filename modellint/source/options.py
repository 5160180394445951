"""The command line options of a script, and whether anything reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from modellint.core.record import dataclass

from .code import Event, Value
from .configuration import destination
from .facts import Option
from .project import Project, module_name
from .relations import Relations
from .script import Script

ADDING = "add_argument"
PARSING = frozenset({"parse_args", "parse_known_args"})
SHOWING = frozenset({"print", "str", "repr", "info", "debug", "pprint", "dump", "vars"})  # all options, to show them


@dataclass(frozen=True, slots=True)
class Group:
    """Scripts that import each other: which of them add options, and the names that something reads (None: any)."""

    scripts: Sequence[Script]
    adding: tuple[Script, ...]
    read: frozenset[str] | None


class Options:
    def __init__(self, project: Project) -> None:
        self.relations = Relations(project)
        self._groups: dict[int, Group] = {}

    def of(self, script: Script) -> Iterator[Option]:
        """The options that the script, or a file that it imports, adds to a parser."""
        related = self.relations.of(script)
        group = self._groups.get(id(related))
        if group is None:
            group = self._groups[id(related)] = _group(related)
        for other in group.adding:
            if other is script or _imports(script, other):
                for call in other.calls:
                    if call.method == ADDING:
                        name = destination(call)
                        yield Option(name, call, used=group.read is None or not name or name in group.read)


def _group(scripts: Sequence[Script]) -> Group:
    adding = tuple([script for script in scripts if ADDING in script.attributes])
    if not adding or _escape(scripts):
        return Group(scripts, adding, None)
    return Group(scripts, adding, frozenset().union(*(script.attributes for script in scripts)))


def _imports(script: Script, other: Script) -> bool:
    return any(module_name(other.path) in full.split(".") for full in script.imports.values())


def _escape(scripts: Sequence[Script]) -> bool:
    """Whether all options are handed on together, to where it cannot be seen which of them are read."""
    functions = [function for script in scripts for function in script.functions]
    events = [event for function in functions for event in function.events]
    kept = PARSING | {event.name for event in events if _parses(event, "assign", PARSING)}
    given = {f.name.rpartition(".")[2] for f in functions if any(_parses(e, "return", kept) for e in f.events)}
    parsed = {event.name for event in events if _parses(event, "assign", PARSING | given)}
    own = {f.name.rpartition(".")[2] for f in functions} | {class_.name for s in scripts for class_ in s.classes}
    calls = (event.value for event in events if event.kind == "call" and event.value is not None)
    return not parsed or any(part.name in parsed for call in calls for part in _handed(call, own))


def _parses(event: Event, kind: str, parsing: Iterable[str]) -> bool:
    return event.kind == kind and event.value is not None and event.value.method in parsing


def _handed(call: Value, own: set[str]) -> Iterator[Value]:
    """What a call is given as a whole: to see where nothing that is read gets it, or by the names of its parts."""
    unpacked = [value for name, value in call.keywords if name == "**"]
    yield from (part for value in unpacked for part in value.within())
    if call.method not in SHOWING | own:
        parts = (*call.arguments, *(value for _, value in call.keywords))
        yield from (part.base if part.kind == "starred" and part.base is not None else part for part in parts)
