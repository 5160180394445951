"""Context managers and decorators of a project: what a `with` does before its body and after it, and what a decorator does
before and after a method."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.record import dataclass

from . import gradient
from .code import Function, Value
from .resolve import Resolver
from .scope import Callee, Frame, Source

MANAGERS = frozenset({"contextmanager", "asynccontextmanager"})


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Some of the events of a function at work."""

    frame: Frame
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """`block` is that of the `with`, `source` the call that makes the manager."""

    block: int
    source: Source
    before: Span | None
    after: Span | None


class Contexts:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def around(self, method: Frame) -> Iterator[tuple[Span, Span]]:
        """What the project's decorators of a method do before and after it, outermost first."""
        for decorator in method.function.decorators if method.function.owner is not None else ():
            for callee in self._decorating(decorator, method):
                if callee.function is not None:
                    yield from self._wrapping(callee, callee.function, method)

    def veils(self, frame: Frame) -> Iterator[Value]:
        """The decorators of a function of which nothing is known."""
        for decorator in frame.function.decorators:
            if gradient.is_veiled(decorator) and not any(c.function for c in self._decorating(decorator, frame)):
                yield decorator

    def _decorating(self, decorator: Value, frame: Frame) -> list[Callee]:
        made = decorator if decorator.kind == "call" else Value("call", decorator.name, location=decorator.location)
        return self.resolver.calls.callees(Source(made, self.resolver.module(frame.script))) if made.name else []

    def _wrapping(self, callee: Callee, decorator: Function, method: Frame) -> Iterator[tuple[Span, Span]]:
        """The function within a decorator that calls what is decorated, up to that call and from there on."""
        assert callee.script is not None
        inner = [f for f in callee.script.functions if f.name.startswith(f"{decorator.name}.")]
        given = {parameter.name for f in (decorator, *inner) for parameter in f.parameters[:1]}
        for function in inner:
            calls = ((at, e.value) for at, e in enumerate(function.events) if e.kind == "call" and e.value is not None)
            place = next((at for at, call in calls if call.name in given and call.arguments), None)
            if place is not None and function.parameters:
                itself = {function.parameters[0].name: method.receiver or Source(Value("name", "self"), method)}
                outer = Frame(callee.script, decorator, outer=self.resolver.module(callee.script))
                frame = Frame(callee.script, function, itself, outer=outer)
                yield Span(frame, 0, place), Span(frame, place + 1)

    def of(self, source: Source) -> Context | None:
        """Of a call; None if no `with` enters it, or it is not the project's."""
        blocks = enumerate(source.frame.function.blocks)
        block = next((i for i, b in blocks if b.kind == "with" and b.value is source.value), None)
        for callee in self.resolver.calls.callees(source)[:1] if block is not None else ():
            spans = self._generated(callee, source) if callee.function else self._methods(callee, source)
            if block is not None and any(spans):
                return Context(block, source, *spans)
        return None

    def _generated(self, callee: Callee, source: Source) -> tuple[Span | None, Span | None]:
        """A generator runs to its `yield`, and on from there."""
        frame = self.resolver.calls.enter(callee, source)
        if frame is None or not manages(frame.function):
            return None, None
        place = next((at for at, event in enumerate(frame.function.events) if event.kind == "yield"), None)
        return Span(frame, 0, place), Span(frame, place + 1) if place is not None else None

    def _methods(self, callee: Callee, source: Source) -> tuple[Span | None, Span | None]:
        before, after = (next(self._method(callee, source, name), None) for name in ("__enter__", "__exit__"))
        return before, after

    def _method(self, callee: Callee, source: Source, name: str) -> Iterator[Span]:
        if callee.class_ is not None and callee.script is not None:
            yield from map(Span, self.resolver.members.methods(callee.script, callee.class_, name, source))


def manages(function: Function) -> bool:
    """Whether a call of it only makes a context manager."""
    return any(decorator.method in MANAGERS for decorator in function.decorators)
