"""The LightningModules of a script: their methods, and whether they step their optimizers themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modellint.core.record import dataclass

from .code import Class, Function
from .script import Script

MANUAL = "automatic_optimization"


@dataclass(frozen=True, slots=True)
class Module:
    class_: Class
    methods: Mapping[str, Function]
    manual: bool | None  # None: it cannot be read
    alone: bool  # all its methods are in this class


def modules(script: Script) -> Iterator[Module]:
    """The classes that derive from LightningModule itself; what others inherit cannot be seen from here."""
    for class_ in script.classes:
        if any(base.method == "LightningModule" for base in class_.bases):
            own = [function for function in script.functions if function.owner == class_.name]
            methods = {function.name.rpartition(".")[2]: function for function in own}
            yield Module(class_, methods, _manual(script, class_, methods), len(class_.bases) == 1)


def taken(step: Function) -> Iterator[str]:
    """The names that a method gives to the optimizers of `self.optimizers()`."""
    for event in step.events:
        value = event.value if event.kind == "assign" else None
        whole = value.base if value is not None and value.kind == "item" else value
        if whole is not None and whole.kind == "call" and whole.name == "self.optimizers":
            yield event.name


def handed(step: Function) -> set[str]:
    """The names that a method gives on, to calls or in lists, by which anything may be done with them."""
    calls = (call for call in step.calls if "toggle" not in call.method and "clip" not in call.method)
    looped = (part for block in step.blocks if block.value is not None for part in block.value.within())
    lists = (value for value in (*step.values, *looped) if value.kind in ("list", "tuple", "dict"))
    return {part.name for given in (*calls, *lists) for whole in given.arguments for part in whole.within()}


def _manual(script: Script, class_: Class, methods: Mapping[str, Function]) -> bool | None:
    set_ = [script.functions[a.function].events[a.event].value for a in class_.attributes if a.name == MANUAL]
    if not set_:
        return None if MANUAL in methods else False
    constants = {value.constant if value is not None else None for value in set_}
    return not constants.pop() if constants in ({True}, {False}) else None
