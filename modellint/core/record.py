"""`dataclass`, `field` and `replace` as in the standard library, for plain classes, which start and run much faster.

A command that ends after a tenth of a second cannot spend half of it on generating methods and on loading what generates
them, and a traversal that makes a million values cannot set each attribute through a guard: that nobody assigns to the
frozen ones is left to the type checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
else:
    from collections.abc import Callable, Iterable
    from functools import partial
    from operator import attrgetter
    from typing import Any

    FIELDS = "__dataclass_fields__"

    def dataclass(*, slots: bool = False, frozen: bool = False, eq: bool = True) -> Callable[[type], type]:
        assert frozen or not eq
        return partial(_with_values if eq else _made, slots=slots)

    class field:  # noqa: N801
        """Of which the default is made anew for each object, or which `__post_init__` sets."""

        def __init__(self, *, default_factory: Callable[[], object] | None = None, init: bool = True) -> None:
            self.given = {"init": init} | ({"default_factory": default_factory} if default_factory else {})
            self.factory, self.init = default_factory, init

    def replace(record: Any, **changes: object) -> Any:
        return type(record)(**{name: getattr(record, name) for name in record.__match_args__} | changes)

    class _Fields:
        """What the standard library knows a dataclass by; it is only loaded where that is asked for."""

        def __init__(self, own: dict[str, object], hints: dict[str, str]) -> None:
            self.own = own
            self.hints = hints

        def __get__(self, _: object, kind: type) -> dict[str, Any]:
            import dataclasses

            return {name: self._field(dataclasses, name) for name in self.hints}

        def _field(self, library: Any, name: str) -> Any:
            default = self.own.get(name, library.MISSING)
            made = library.field(**(default.given if isinstance(default, field) else {"default": default}))
            made.name, made.type, made._field_type, made.kw_only = name, self.hints[name], library._FIELD, False
            return made

    def _with_values(kind: type, *, slots: bool) -> type:
        made = _made(kind, slots=slots)
        values = attrgetter(*made.__match_args__, "__class__")
        made.__eq__ = lambda self, other: values(self) == values(other) if other.__class__ is made else NotImplemented
        made.__hash__ = lambda self: hash(values(self))
        return made

    def _made(kind: type, *, slots: bool) -> type:
        own = kind.__annotations__
        above = next((vars(base)[FIELDS] for base in kind.__mro__[1:] if FIELDS in vars(base)), None)
        hints = {**(above.hints if above else {}), **own}
        defaults = {**(above.own if above else {}), **{n: vars(kind)[n] for n in own if n in vars(kind)}}
        names = tuple(n for n in hints if not isinstance(defaults.get(n), field) or defaults[n].init)
        content = {name: item for name, item in vars(kind).items() if name not in ("__dict__", "__weakref__", *own)}
        content |= {
            "__match_args__": names,
            FIELDS: _Fields(defaults, hints),
            "__init__": _first(names, defaults, done="__post_init__" in content),
            "__repr__": content.get("__repr__", _repr),
        }
        if slots:
            content["__slots__"] = tuple(own)
        return type(kind)(kind.__name__, kind.__bases__, content)

    def _first(names: Iterable[str], defaults: dict[str, Any], *, done: bool) -> Callable[..., None]:
        """What makes the first object, and compiles what makes the others: of most kinds a command makes none."""

        def first(self: Any, *given: object, **named: object) -> None:
            made = _init(names, defaults, done=done)
            for kind in type(self).__mro__:
                if vars(kind).get("__init__") is first:
                    kind.__init__ = made
            made(self, *given, **named)

        return first

    def _init(names: Iterable[str], defaults: dict[str, Any], *, done: bool) -> Callable[..., None]:
        plain = {f"_{n}": default.factory if isinstance(default, field) else default for n, default in defaults.items()}
        given = ", ".join(f"{name}=_{name}" if name in defaults else name for name in names)
        made = (f"_{n}() if {n} is _{n} else {n}" if isinstance(defaults.get(n), field) else n for n in names)
        lines = [f"self.{name} = {value}" for name, value in zip(names, made, strict=True)]
        body = "\n ".join([*lines, *["self.__post_init__()"] * done]) or "pass"
        namespace: dict[str, Callable[..., None]] = {}
        exec(f"def __init__(self, {given}):\n {body}", plain, namespace)
        return namespace["__init__"]

    def _repr(self: object) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__match_args__)})"
