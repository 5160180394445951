"""The command line options of a script, and whether anything reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .code import Event, Value
from .configuration import destination
from .facts import Option
from .project import Project, module_name
from .relations import Relations
from .script import Script

ADDING = "add_argument"
PARSING = frozenset({"parse_args", "parse_known_args"})
SHOWING = frozenset({"print", "str", "repr", "info", "debug", "pprint", "dump", "vars"})  # all options, to show them


class Options:
    def __init__(self, project: Project) -> None:
        self.relations = Relations(project)
        self._read: dict[int, frozenset[str] | None] = {}  # by scripts that import each other

    def of(self, script: Script) -> Iterator[Option]:
        """The options that the script, or a file that it imports, adds to a parser."""
        related = self.relations.of(script)
        for other in related:
            if ADDING in other.called and (other is script or _imports(script, other)):
                read = self._names_read(related)
                for call in other.calls:
                    if call.method == ADDING:
                        name = destination(call)
                        yield Option(name, call, used=read is None or not name or name in read)

    def _names_read(self, scripts: Sequence[Script]) -> frozenset[str] | None:
        """The names that something in the scripts reads; None: any."""
        if id(scripts) not in self._read:
            names = (script.attributes for script in scripts)
            self._read[id(scripts)] = None if _escape(scripts) else frozenset().union(*names)
        return self._read[id(scripts)]


def _imports(script: Script, other: Script) -> bool:
    return any(module_name(other.path) in full.split(".") for full in script.imports.values())


def _escape(scripts: Sequence[Script]) -> bool:
    """Whether all options are handed on together, to where it cannot be seen which of them are read."""
    parsing = _calling(scripts, PARSING)
    kept = PARSING | set(_bound(parsing, PARSING))
    returning = (f for s in parsing for f in s.functions if any(_parses(e, "return", kept) for e in f.events))
    given = PARSING | {function.name.rpartition(".")[2] for function in returning}
    parsed = set(_bound(_calling(scripts, given), given))
    functions = {function.name.rpartition(".")[2] for script in scripts for function in script.functions}
    read = SHOWING | functions | {class_.name for script in scripts for class_ in script.classes}
    calls = (call for script in scripts for call in script.calls)
    return not parsed or any(part.name in parsed for call in calls for part in _handed(call, read))


def _calling(scripts: Sequence[Script], names: frozenset[str]) -> list[Script]:
    return [script for script in scripts if not names.isdisjoint(script.called)]


def _bound(scripts: Sequence[Script], parsing: frozenset[str]) -> Iterator[str]:
    """The names that are bound to what parses."""
    events = (event for script in scripts for function in script.functions for event in function.events)
    return (event.name for event in events if _parses(event, "assign", parsing))


def _parses(event: Event, kind: str, parsing: Iterable[str]) -> bool:
    return event.kind == kind and event.value is not None and event.value.method in parsing


def _handed(call: Value, read: frozenset[str]) -> Iterator[Value]:
    """What a call is given as a whole: to see where nothing that is read gets it, or by the names of its parts."""
    unpacked = [value for name, value in call.keywords if name == "**"]
    yield from (part for value in unpacked for part in value.within())
    if call.method not in read:
        parts = (*call.arguments, *(value for _, value in call.keywords))
        yield from (part.base if part.kind == "starred" and part.base is not None else part for part in parts)
