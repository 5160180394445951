"""Options: what `args.lr` is, by the defaults of the command line or the fields of a class of settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .code import Value
from .scope import Source

if TYPE_CHECKING:
    from .resolve import Resolver

CONFIGURATIONS = ("cli", "parse", "parse_args", "parse_args_into_dataclasses", "HfArgumentParser", "Namespace")


class Configuration:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def of(self, parsed: Source, name: str) -> list[Source]:
        """An option of the command line, by its default: `parser.parse_args()` or `tyro.cli(Args)` with `.name`."""
        call = parsed.value
        if call.method not in CONFIGURATIONS:
            return []
        classes = [s for a in call.arguments for s in self.resolver.of(parsed.of(a)) if s.value.kind == "class"]
        fields = [found for class_ in classes for found in self.resolver.members.of(class_, name)]
        return fields or list(self._default(parsed, name))

    def _default(self, parsed: Source, name: str) -> Iterator[Source]:
        script = parsed.frame.script
        for function in script.functions:
            for at, event in enumerate(function.events):
                call = event.value
                if (
                    event.kind == "call"
                    and call is not None
                    and call.method == "add_argument"
                    and name == destination(call)
                ):
                    default = call.argument(None, "default")
                    if default is not None:
                        yield from self.resolver.sources(default, self.resolver.frame(script, function), at)


def destination(call: Value) -> str:
    """The attribute that an `add_argument` call fills."""
    given = call.argument(None, "dest")
    if given is not None and isinstance(given.constant, str):
        return given.constant
    flags = [a.constant for a in call.arguments if isinstance(a.constant, str)]
    long = next((flag for flag in flags if flag.startswith("--")), flags[0] if flags else "")
    return long.lstrip("-").replace("-", "_")
