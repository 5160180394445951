"""The command line options of a script, and whether anything reads them."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Value
from .configuration import destination
from .facts import Option
from .project import Project
from .relations import Relations
from .script import Script

PARSING = ("parse_args", "parse_known_args")
SHOWING = frozenset({"print", "str", "repr", "info", "debug", "pprint", "dump", "vars"})  # all options, to show them


class Options:
    def __init__(self, project: Project) -> None:
        self.relations = Relations(project)

    def of(self, script: Script) -> Iterator[Option]:
        added = [call for call in script.calls if call.method == "add_argument"]
        if not added:
            return
        read = frozenset().union(*(other.attributes for other in self.relations.of(script)))
        escape = _escape(script)
        for call in added:
            name = destination(call)
            yield Option(name, call, used=escape or not name or name in read)


def _escape(script: Script) -> bool:
    """Whether all options are handed on together, to where it cannot be seen which of them are read."""
    assigned = [event for function in script.functions for event in function.events if event.kind == "assign"]
    parsed = {event.name for event in assigned if event.value is not None and event.value.method in PARSING}
    own = {function.name.rpartition(".")[2] for function in script.functions}
    handed = (call for call in script.calls if call.method not in SHOWING | own)
    return not parsed or any(part.name in parsed for call in handed for part in _arguments(call))


def _arguments(call: Value) -> Iterator[Value]:
    for given in (*call.arguments, *(value for _, value in call.keywords)):
        yield given.base if given.kind == "starred" and given.base is not None else given
