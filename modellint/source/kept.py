"""What a loop keeps from one pass to the next: losses that it sums or stores, and states that it feeds back."""

from __future__ import annotations

from modellint.core.record import replace

from .carried import Carried
from .code import Function, Value
from .facts import Act
from .place import loop_id, loops_around
from .resolve import Resolver
from .scope import Frame, Source
from .tensors import bindings
from .terms import Terms

CUTTING = ("data", "item", "detach", "float")
STORES = ("append", "appendleft")


class Kept:
    def __init__(self, resolver: Resolver, terms: Terms) -> None:
        self.resolver = resolver
        self.terms = terms
        self.carried = Carried(resolver)

    def call(self, source: Source) -> Act | None:
        """A value that is appended to a list, or the first batch of a loader."""
        call = source.value
        if call.name == "next" and call.arguments and call.arguments[0].name == "iter" and call.arguments[0].arguments:
            loaders = self.resolver.of(source.of(call.arguments[0].arguments[0]))
            return Act("first", call, tuple(made.place for made in loaders))
        store, _, method = call.name.rpartition(".")
        if method in STORES and store and len(call.arguments) == 1 and not self._is_bounded(source, store):
            return self._keeps(source, call.arguments[0], store)
        return self._sums(source, store) if store and call.arguments else None

    def _is_bounded(self, source: Source, store: str) -> bool:
        """Whether it forgets what is old: `deque(maxlen=10)`."""
        made = (s.value for s in self.resolver.of(source.of(Value("name", store, location=source.value.location))))
        return any(v.kind == "call" and v.method == "deque" and v.argument(1, "maxlen") is not None for v in made)

    def _sums(self, source: Source, name: str) -> Act | None:
        """A method of the project that adds what it is given to a sum of its object, whatever that is: `meter.update(loss)`."""
        function, at = source.frame.function, source.at or 0
        for callee in self.resolver.calls.callees(source)[:1]:
            place = _sum(callee.function) if callee.function is not None and callee.made is None else None
            entered = self.resolver.calls.enter(callee, source) if place is not None else None
            kept = self.event(entered, place) if entered is not None and place is not None else None
            if kept is not None:
                around = loops_around(function, at)
                begins = _begins(function, at, name, around)
                anew = "".join(loop_id(source.frame, block) for block in begins or ())
                return replace(kept, call=source.value, subjects=(name,), anew=anew) if begins != around[:1] else None
        return None

    def event(self, frame: Frame, at: int) -> Act | None:
        """A sum that goes on, or a state that a model is given and gives back."""
        event = frame.function.events[at]
        value = event.value
        if value is None or event.kind not in ("assign", "augment"):
            return None
        if value.kind == "operation" and value.name == "+" and _is(value.arguments[0], event.name):
            return self._keeps(Source(value, frame, at), value.arguments[1], event.name)
        return self.carried.of(Source(value, frame, at), event.name) if event.kind == "assign" else None

    def _keeps(self, source: Source, given: Value, name: str) -> Act | None:
        function, at = source.frame.function, source.at or 0
        around = loops_around(function, at)
        begins = _begins(function, at, name, around)
        if begins == around[:1] or _is_cut_first(function, given):
            return None
        terms = tuple([term.place for term in self.terms.of(source.of(given))])
        anew = "".join(loop_id(source.frame, block) for block in begins or ())
        return Act("keep", source.value, (name,), terms=terms, anew=anew) if terms else None


def _sum(method: Function) -> int | None:
    """The event that adds a parameter to an attribute of the object as it is: nothing binds it anew or asks what it is."""
    names = {parameter.name for parameter in method.parameters}
    bound = {event.name for event in method.events if event.kind in ("assign", "augment")}
    if names & bound or len(method.blocks) > 1 or method.decorators:
        return None
    sums = (i for i, event in enumerate(method.events) if event.kind == "augment" and event.name.startswith("self."))
    return next(sums, None)


def _is_cut_first(function: Function, given: Value) -> bool:
    """Whether what is given may be cut off from its graph before: `if isinstance(v, Variable): v = v.data`, or an item of a
    dict by `losses[key] = value.item()`; or is where it has one: `v.item() if torch.is_tensor(v) else v`."""
    if given.kind == "choice" and any(arm.method in CUTTING for arm in given.arguments):
        return True
    names = set[str]()
    if given.kind == "item" and given.base is not None and given.arguments:
        names = {f"{given.base}[]", f"{given.base}[{given.arguments[0].constant}]"}
    elif given.kind == "name" and given.name in {parameter.name for parameter in function.parameters}:
        names = {given.name}
    bound = (e.value for e in function.events if e.kind == "assign" and e.name in names and e.value is not None)
    return any(
        part.method in CUTTING or part.name.endswith(".data") or ".data." in part.name
        for value in bound
        for part in value.within()
    )


def _begins(function: Function, at: int, name: str, around: list[int]) -> list[int] | None:
    """The innermost loop in each of whose passes a sum or list begins anew; none: with each call of the function."""
    others = {function.events[place].block for place in bindings(function).get(name, ()) if place != at}
    where = {block for other in others for block in function.enclosing(other)}
    return [block for block in around if block in where][:1] if others else None


def _is(value: Value, name: str) -> bool:
    """Whether it is what goes by the name; a long sum, which nothing should write out, is not."""
    return value.kind in ("name", "item") and str(value) == name
