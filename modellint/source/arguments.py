"""Arguments: which value of a call each parameter of a function takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .code import Function, Value
from .scope import Frame, Source

if TYPE_CHECKING:
    from .resolve import Resolver


class Arguments:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def of(self, function: Function, call: Source, module: Frame, skip: int) -> dict[str, Source]:
        """The parameters that a call gives a value, or a default does."""
        given: dict[str, Source] = {}
        positional, named = list(self._positional(call)), dict(self._named(call))
        for position, parameter in enumerate(function.parameters[skip:]):
            if parameter.name.startswith("**"):
                others = {name: value for name, value in named.items() if name not in given}
                given.update({parameter.name[2:]: found for found in _together(others.values(), tuple(others))})
            elif parameter.name.startswith("*"):
                given.update({parameter.name[1:]: found for found in _together(positional[position:])})
            elif parameter.name in named:
                given[parameter.name] = named[parameter.name]
            elif position < len(positional):
                given[parameter.name] = positional[position]
            elif parameter.default is not None and not call.value.unpacks:
                given[parameter.name] = Source(parameter.default, module)
        return given

    def _positional(self, call: Source) -> Iterator[Source]:
        """The arguments that are given by position, up to a `*args` that cannot be read."""
        for argument in call.value.arguments:
            if argument.kind != "starred" or argument.base is None:
                yield call.of(argument)
                continue
            found = self.resolver.of(call.of(argument.base))
            if len(found) != 1 or found[0].value.kind != "tuple" or found[0].value.unpacks:
                return
            yield from (found[0].of(item) for item in found[0].value.arguments)

    def _named(self, call: Source) -> Iterator[tuple[str, Source]]:
        for name, value in call.value.keywords:
            if name != "**":
                yield name, call.of(value)
            else:
                found = [s for s in self.resolver.of(call.of(value)) if s.value.kind == "dict"]
                yield from ((key, s.of(item)) for s in found[:1] for key, item in s.value.keywords)


def _together(parts: Iterable[Source], names: tuple[str, ...] = ()) -> Iterator[Source]:
    """What `*args` or, with names, `**kwargs` takes up, if all of it is written at one place."""
    parts = list(parts)
    if len({(id(part.frame), part.at) for part in parts}) == 1:
        values = tuple([part.value for part in parts])
        named = Value("dict", keywords=tuple(zip(names, values, strict=True))) if names else None
        yield parts[0].of(named or Value("tuple", arguments=values))
