"""States that a model keeps: what its forward is given back from the call before."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Class, Event, Function, Value
from .project import Project
from .script import Script

CUTTING = frozenset({"detach", "detach_", "data", "no_grad"})


def carried(project: Project, script: Script, class_: Class) -> str:
    """The attribute that forward feeds to a module and gets back from it, if nothing ever cuts its graph off."""
    forward, init = (project.function(script, f"{class_.name}.{name}") for name in ("forward", "__init__"))
    if forward is None or script.attributes & CUTTING:
        return ""
    for event in forward.events:
        if event.kind == "assign" and event.name.startswith("self.") and _is_fed_back(event):
            last = event.name.removeprefix("self.")
            if all(other in (event, *(init.events if init else ())) for other in _assigned(project, last)):
                return last
    return ""


def _is_fed_back(event: Event) -> bool:
    call = event.value
    while call is not None and call.kind == "item":
        call = call.base
    if call is None or call.kind != "call" or not call.name.startswith("self."):
        return False
    given: tuple[Value, ...] = (*call.arguments, *(value for _, value in call.keywords))
    return any(part.name == event.name for value in given for part in value.within())


def _assigned(project: Project, attribute: str) -> Iterator[Event]:
    for script in project.scripts:
        if attribute in script.attributes:
            yield from (event for function in script.functions for event in _to(function, attribute))


def _to(function: Function, attribute: str) -> Iterator[Event]:
    return (e for e in function.events if e.kind != "call" and e.name.rpartition(".")[2] == attribute and "." in e.name)
