"""Back from a tensor to what it was made of, as long as no axis is moved, and whether that tells what its axes are."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.pattern import pattern
from modellint.core.record import dataclass

from .code import Function, Value
from .script import Script

KEEPS = pattern(
    r"(?i).*(drop|norm|relu|gelu|tanh|contiguous|float|to|cuda|sqrt|emb|pos|proj|fc|linear|input|project).*"
)
TURNS = frozenset(
    "transpose permute swapaxes movedim rearrange einsum view reshape unsqueeze flatten squeeze stack t unfold split "
    "repeat swapdims pack_padded_sequence chunk".split()
)
LONGEST = 60


@dataclass(frozen=True, slots=True, eq=False)
class Unmoved:
    """The way back from a value of a function, through the modules of its file."""

    script: Script
    function: Function

    def of(self, value: Value | None, at: int) -> bool | None:
        """Whether it is made of tokens or positions; None where an axis was moved, or something cannot be read."""
        steps = list(self.steps(value, at))
        if None in steps:
            return None
        return any(tells(step) and not self._is_linear(step) for step in steps if step is not None)

    def _is_linear(self, call: Value) -> bool:
        """Whether it is a projection, whatever its name: its items may be those of any axis."""
        return any(made.name == "torch.nn.Linear" for made in self._made(call))

    def steps(self, value: Value | None, at: int) -> Iterator[Value | None]:
        """What it is made of, the last step first; None stands for one that cannot be followed."""
        waiting, count = [(value, at)] if value is not None else [], 0
        while waiting and count < LONGEST:
            value, at = waiting.pop()
            inner, count = self._inner(value, at), count + 1
            yield value if inner is not None else None
            waiting += inner or []
        yield from (None for _ in waiting[:1])

    def _inner(self, value: Value, at: int) -> list[tuple[Value, int]] | None:
        """What a value is made of; None where that cannot be followed."""
        if value.kind == "constant":
            return []
        if value.kind == "name":
            places = range(at - 1, -1, -1)
            events = self.function.events
            found = next(
                (i for i in places if events[i].kind in ("assign", "augment") and events[i].name == value.name), None
            )
            made = events[found].value if found is not None else None
            if made is not None and found is not None:
                return [(made, found)]
            return [] if "." not in value.name or value.name.startswith("self.") else None
        if value.kind == "operation":
            return [(part, at) for part in value.arguments]
        if value.kind == "item":
            return (
                [] if value.base is not None and value.base.name.startswith("self.") and not _is_first(value) else None
            )
        return self._called(value, at) if value.kind == "call" else None

    def _called(self, call: Value, at: int) -> list[tuple[Value, int]] | None:
        if (
            call.name == "torch.cat"
            and call.argument(1, "dim") is not None
            and call.arguments[0].kind in ("list", "tuple")
        ):
            along = call.argument(1, "dim")
            return (
                [(part, at) for part in call.arguments[0].arguments[-1:]]
                if along and along.constant in (1, -1, 2)
                else None
            )
        if _counts(call):
            return []
        if call.method in TURNS or not KEEPS.fullmatch(call.method) or self._turns(call):
            return None
        own = call.name.startswith(("self.", "torch."))
        given = call.arguments[0] if own and call.arguments else call.receiver
        return [(given, at)] if given is not None else None

    def _turns(self, call: Value) -> bool:
        """Whether a module of the file moves an axis, or cannot be read."""
        made = [value.name for value in self._made(call)]
        if not call.name.startswith("self.") or all(name.startswith("torch.nn.") for name in made):
            return call.name.startswith("self.") and not made
        forwards = self.forwards(call)
        return not forwards or any(inner.method in TURNS for forward in forwards for inner in forward.calls)

    def forwards(self, call: Value) -> list[Function]:
        """Of the modules of the file that a call may apply."""
        names = {f"{value.name}.forward" for value in self._made(call)}
        return [function for function in self.script.functions if function.name in names]

    def _made(self, call: Value) -> list[Value]:
        near = (f for f in self.script.functions if f.owner == self.function.owner)
        events = (e for f in near for e in f.events if e.kind == "assign" and e.name == call.name)
        return [event.value for event in events if event.value is not None]


def along_first(forward: Function) -> Iterator[Value]:
    """`self.pe[: x.size(0)]` of what forward is given."""
    given = {parameter.name for parameter in forward.parameters}
    lengths = {f"{name}{size}" for name in given for size in (".size(0)", ".shape[0]")} | {f"len({n})" for n in given}
    values = (event.value for event in forward.events if event.kind != "call" and event.value is not None)
    for item in (part for value in values for part in value.within() if _is_own(part)):
        first = _first(item)
        if first.name == ":_" and str(first.arguments[0]) in lengths:
            yield item


def tells(value: Value | None) -> bool:
    """A class token before the items, `self.position[:, :n]`, embeddings."""
    if value is None or value.kind == "item":
        return (
            value is not None
            and value.base is not None
            and value.base.name.startswith("self.")
            and not _is_first(value)
        )
    if value.name == "torch.cat":
        along = value.argument(1, "dim")
        return along is not None and along.constant == 1
    return (
        value.kind == "call"
        and bool(value.arguments)
        and ("embedding" in value.method.lower() or value.method == "emb")
    )


def _counts(value: Value | None) -> bool:
    """Whether it is a range of positions, however it is arranged."""
    while value is not None and value.kind in ("call", "item") and value.name != "torch.arange":
        value = value.base if value.kind == "item" else value.receiver
    return value is not None and value.name == "torch.arange"


def _is_own(item: Value) -> bool:
    return item.kind == "item" and item.base is not None and item.base.name.startswith("self.")


def _is_first(item: Value) -> bool:
    """`self.pe[:n]`, which goes along the first axis."""
    first = _first(item)
    return first.kind != "unknown" or bool(first.arguments)


def _first(item: Value) -> Value:
    """The index along the first axis."""
    index = item.arguments[0]
    return index.arguments[0] if index.kind == "tuple" and index.arguments else index
