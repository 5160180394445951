"""Registries: what may be taken of a module by a name that is not written, `getattr(models, name)` or `models.__dict__[name]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .code import Value
from .project import LIBRARIES
from .scope import Source
from .script import Script

if TYPE_CHECKING:
    from .resolve import Resolver

MOST = 16  # things that one name may stand for; more of them are not told apart


class Registry:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def taken(self, made: Source) -> list[Source]:
        """The functions and classes that a value may be which is taken of a module, as far as they are the project's.

        Of a library `NAME.*`; anything else is left as it is.
        """
        module, key = _parts(made.value)
        if key is None:
            return [made]
        name = self._written(made.of(key))
        if module.partition(".")[0] in LIBRARIES or module == "torchvision.models":
            return [made.of(Value("name", f"{module}.{name or '*'}", location=made.value.location))]
        if name:
            return self.resolver.of(made.of(Value("name", f"{module}.{name}")))
        found = list(self._members(made.frame.script, module))
        return found if 0 < len(found) <= MOST else [made]

    def _written(self, key: Source) -> str:
        """The name, where one constant is all that it may be."""
        found = self.resolver.of(key)
        constant = found[0].value.constant if len(found) == 1 else None
        return constant if isinstance(constant, str) and constant.isidentifier() else ""

    def _members(self, script: Script, module: str) -> Iterator[Source]:
        """What a module defines, and what it imports from its own package."""
        located = self.resolver.project.locate(script, f"{module}.x") if module else (script, "x")
        if located is None or located[1] != "x":
            return
        other = located[0]
        files = [located[0] for star in other.imports if star.startswith("*") and (located := self._star(other, star))]
        for defining in (other, *files):
            own = {f.name for f in defining.functions if f.kind == "function" and not f.owner and "." not in f.name}
            for name in sorted(own | {c.name for c in defining.classes if "." not in c.name}):
                if not name.startswith("_"):
                    yield from self.resolver.sources(Value("name", name), self.resolver.module(defining))
        for name, full in other.imports.items():
            if full.startswith(".") and not name.startswith(("*", "_")):
                yield from self.resolver.sources(Value("name", full), self.resolver.module(other))

    def _star(self, script: Script, star: str) -> tuple[Script, str] | None:
        return self.resolver.project.locate(script, f"{script.imports[star]}.x")


def _parts(value: Value) -> tuple[str, Value | None]:
    """The module and what names its member; no name where a value is nothing of that kind."""
    if value.kind == "call" and value.name == "getattr" and len(value.arguments) == 2:
        module, key = value.arguments
        return (module.name, key) if module.kind == "name" else ("", None)
    if value.kind != "item" or value.base is None or not value.arguments:
        return "", None
    base = value.base
    if base.kind == "call" and base.name == "globals":
        return "", value.arguments[0]
    if base.kind == "name" and base.name.endswith(".__dict__"):
        return base.name.removesuffix(".__dict__"), value.arguments[0]
    return "", None
