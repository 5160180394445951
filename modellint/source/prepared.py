"""The frameworks that prepare what a script trains with, and the names of what each was given."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Value
from .script import Script

PREPARES = {"Accelerator": ("prepare", "prepare_optimizer"), "Fabric": ("setup", "setup_optimizers")}
PREPARING = {method for methods in PREPARES.values() for method in methods}
ENGINE = "deepspeed.initialize"


def owners(script: Script) -> Iterator[tuple[str, set[str]]]:
    """The names of frameworks' objects, each with the names of what it steps or was given."""
    made = [(e.name, e.value) for f in script.functions for e in f.events if e.kind == "assign" and e.value is not None]
    for name, value in made:
        if value.kind == "call" and value.method in PREPARES:
            calls = [c for c in script.calls if c.method in PREPARES[value.method] and str(c.receiver) == name]
            yield (
                name,
                {str(part) for call in calls for part in call.arguments if part.kind == "name"} | _targets(made, calls),
            )
        elif value.kind == "item" and value.base is not None and value.base.name == ENGINE:
            yield from {name: {name}}.items() if value.arguments[0].constant == 0 else ()


def bound_anew(script: Script, name: str) -> set[str]:
    """The names that a function which prepares nothing gives values of its own."""
    function = next((f for f in script.functions if f.name == name and f.kind == "function"), None)
    if function is None or any(c.name == ENGINE or c.method in PREPARING for c in function.calls):
        return set()
    return {event.name for event in function.events if event.kind == "assign"}


def _targets(made: list[tuple[str, Value]], calls: list[Value]) -> set[str]:
    """The names that what is prepared is bound to."""
    given = set(map(id, calls))
    return {name for name, value in made if value.kind == "item" and id(value.base) in given}


def accumulated(script: Script) -> Value | None:
    """The number of batches whose gradients the file's one Accelerator is told to add up, unless that is one."""
    made = [call for call in script.calls if call.method == "Accelerator"]
    given = made[0].argument(None, "gradient_accumulation_steps") if len(made) == 1 else None
    return given if given is not None and given.constant != 1 else None
