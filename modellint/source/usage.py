"""What becomes of an optimizer after it is made: whether anything may step it, and where its gradients are cleared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping

from modellint.core.pattern import pattern
from modellint.core.record import dataclass

from .code import Function, Value
from .relations import Relations
from .script import Script
from .vocabulary import HARMLESS, is_optimizer, is_scheduler

DEEPEST = 30  # functions of a script that call one another, each followed into the next
PREPARED = ("prepare", "prepare_optimizer")  # an optimizer in, the same optimizer out: it is still to be stepped
# Gradients that are read may be applied by hand, or be all that is asked for.
GRADIENT = pattern(r"grads?|(get|apply|collect|flatten|compute)_\w*grad(ient)?s?")


@dataclass(frozen=True, slots=True)
class Usage:
    stepped: bool = True  # False only if nothing in the project may step it
    clears: tuple[Value, ...] = ()  # the calls that clear its gradients in functions that make them


class Usages:
    def __init__(self, relations: Relations) -> None:
        self.relations = relations
        self._handed: dict[int, Mapping[str, list[Value]]] = {}

    def of(self, script: Script, function: Function, call: Value) -> Usage:
        """Of the object that `call` makes in a function, as far as related scripts may see it."""
        names = {event.name for event in function.events if event.kind == "assign" and event.value is call}
        name = next(iter(names), "")
        if len(names) != 1 or "[" in name or any(map(GRADIENT.fullmatch, script.attributes)):
            return Usage()
        attribute = name.startswith("self.")
        last = name.rpartition(".")[2]
        related = self.relations.of(script) if attribute else (script,)
        scripts = [s for s in related if s is script or last in s.attributes]
        stepped = any(value is not call for s in scripts for value in self._stepping(s).get(last, ()))
        clearing = [f for s in scripts if "zero_grad" in s.called for f in s.functions]
        own = set(_models(call)) if not stepped and _is_alone(script, name) else set[str]()
        return Usage(stepped, tuple(_clears(clearing, {last})) or tuple(_clears(clearing, own)))

    def _stepping(self, script: Script) -> Mapping[str, list[Value]]:
        """By the name of what they are: the values that step it, or hand it to where that cannot be seen."""
        known = self._handed.get(id(script))
        if known is None:
            known = self._handed[id(script)] = defaultdict(list)
            own = _Own(script)
            for value in (event.value for f in script.functions for event in f.events if event.value is not None):
                for name in _stepped(value, own):
                    known[name].append(value)
        return known


class _Own:
    """The functions of a script, and by what names they step an optimizer or hand it on."""

    def __init__(self, script: Script) -> None:
        around = {function.parent for function in script.functions}
        self.functions = {f.name: f for f in script.functions if f.parameters and f.name not in around}
        self._used: dict[str, set[str]] = {}
        self._left = DEEPEST

    def idle(self, call: Value) -> list[Value]:
        """What a call of one of them is given that it does not step and hands to nobody who may."""
        function = self.functions.get(call.name) if call.kind == "call" and not call.unpacks else None
        if function is None or any(inner.name in ("locals", "vars") for inner in function.calls):
            return []
        used = self._uses(function)
        idle = ((at, parameter) for at, parameter in enumerate(function.parameters) if parameter.name not in used)
        given = (call.argument(at, parameter.name) for at, parameter in idle)
        return [value for value in given if value is not None]

    def _uses(self, function: Function) -> set[str]:
        known = self._used.get(function.name)
        if known is None:
            known = self._used[function.name] = {p.name for p in function.parameters}  # where it calls itself
            if self._left > 0:
                self._left -= 1
                values = (event.value for event in function.events if event.value is not None)
                known = self._used[function.name] = {name for value in values for name in _stepped(value, self)}
                self._left += 1
        return known


def _stepped(value: Value, own: _Own) -> set[str]:
    if value.kind == "call" and value.method == "zero_grad":
        return set()
    receiver = value.receiver if value.kind == "call" and "step" in value.method else None
    parts = [
        part for part in (*_handed(value, own), receiver) if part is not None and part.kind in ("name", "attribute")
    ]
    kept = (part.receiver for part in parts if part.method == "step")  # the method itself, to be called later
    return {part.method for part in (*parts, *kept) if part is not None}


def _handed(value: Value, own: _Own) -> Iterator[Value]:
    """The values inside another, without what is only looked at, or given to a function that steps nothing of it."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        yield part
        idle = own.idle(part)
        given = () if _looks(part) else (*part.arguments, *(item for _, item in part.keywords))
        waiting += [each for each in given if each not in idle]
        waiting += (part.base,) if part.base is not None else ()


def _looks(value: Value) -> bool:
    """Whether a call leaves the optimizer to its maker."""
    harmless = HARMLESS.search(value.method) is not None or value.method in PREPARED
    return value.kind == "call" and (harmless or is_scheduler(value.name))


def _models(made: Value) -> Iterator[str]:
    """The models whose parameters an optimizer is given: their `zero_grad()` clears the same gradients."""
    parts = (part.receiver for part in made.within() if part.kind == "call" and part.method == "parameters")
    yield from (part.method for part in parts if part is not None and part.name not in ("", "self"))


def _is_alone(script: Script, name: str) -> bool:
    """Whether all optimizers that the script makes go by one name: no other one may step what this one holds."""
    events = (event for function in script.functions for event in function.events)
    bound = {id(event.value) for event in events if event.kind == "assign" and event.name == name}
    return all(id(call) in bound for call in script.calls if is_optimizer(call.name))


def _clears(functions: Iterable[Function], names: Container[str]) -> Iterator[Value]:
    for function in functions if names else ():
        calls = list(function.calls)
        if any(call.method in ("backward", "manual_backward") for call in calls):
            yield from (call for call in calls if call.method == "zero_grad" and _named(call.receiver) in names)


def _named(value: Value | None) -> str:
    return value.method if value is not None and value.kind in ("name", "attribute") else ""
