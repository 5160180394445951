"""Names of a function with what they are taken from: the network whose parameters a loop goes over."""

from __future__ import annotations

from .code import Function, Value


def about(function: Function, name: str, at: int | None) -> str:
    """The name, and what a loop takes it from: the network of `zip(target.parameters(), online.parameters())`."""
    value, places = _bound(function, name.removesuffix("[]"), at), list[object]()
    if value is not None and value.kind == "call":
        return f"{name} {value}"
    while value is not None and value.kind == "item" and value.base is not None:
        places.append(value.arguments[0].constant)
        value = value.base
    value = value.base if value is not None and value.kind == "element" else None
    while value is not None and value.name in ("zip", "enumerate") and places:
        place = places.pop()
        within = value.arguments if value.name == "zip" else (value, *value.arguments)
        value = within[place] if type(place) is int and place < len(within) else None
    return f"{name} {value}" if value is not None else name


def _bound(function: Function, name: str, at: int | None) -> Value | None:
    """What a name was last bound to, other than by a method that changes it in place."""
    assigned = (e.value for e in reversed(function.events[:at]) if e.kind == "assign" and e.name == name)
    return next((v for v in assigned if v is not None and (v.kind != "call" or str(v.receiver) != name)), None)
