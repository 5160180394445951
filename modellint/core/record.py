"""`dataclass` and `field` as in the standard library, for frozen classes with slots, which start and run much faster.

A command that ends after a tenth of a second cannot spend half of it on generating methods, and a traversal that makes a
million values cannot set each attribute through a guard: that nobody assigns to them is left to the type checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
else:
    from collections.abc import Callable
    from dataclasses import _FIELD, MISSING, Field, field
    from operator import attrgetter

    def dataclass(*, frozen: bool, slots: bool, eq: bool = True) -> Callable[[type], type]:
        assert frozen
        assert slots
        return _with_values if eq else _made

    def _with_values(kind: type) -> type:
        made = _made(kind)
        values = attrgetter(*made.__match_args__, "__class__")
        made.__eq__ = lambda self, other: values(self) == values(other) if other.__class__ is made else NotImplemented
        made.__hash__ = lambda self: hash(values(self))
        return made

    def _made(kind: type) -> type:
        own = {name: _field(name, hint, kind) for name, hint in kind.__annotations__.items()}
        fields = {**getattr(kind, "__dataclass_fields__", {}), **own}
        content = {name: item for name, item in vars(kind).items() if name not in ("__dict__", "__weakref__", *own)}
        content |= {
            "__slots__": tuple(own),
            "__match_args__": tuple(fields),
            "__dataclass_fields__": fields,
            "__init__": _init(fields),
            "__repr__": content.get("__repr__", _repr),
        }
        return type(kind)(kind.__name__, kind.__bases__, content)

    def _field(name: str, hint: object, kind: type) -> Field:
        given = kind.__dict__.get(name, MISSING)
        made = given if isinstance(given, Field) else field(default=given)
        made.name, made.type, made._field_type, made.kw_only = name, hint, _FIELD, False
        return made

    def _init(fields: dict[str, Field]) -> Callable[..., None]:
        defaults = {f"_{name}": made.default for name, made in fields.items() if made.default is not MISSING}
        factories = {f"_{n}": made.default_factory for n, made in fields.items() if made.default_factory is not MISSING}
        given = ", ".join(f"{name}=_{name}" if f"_{name}" in {**defaults, **factories} else name for name in fields)
        made = (f"_{n}() if {n} is _{n} else {n}" if f"_{n}" in factories else n for n in fields)
        body = "".join(f"\n self.{name} = {value}" for name, value in zip(fields, made, strict=True))
        namespace: dict[str, Callable[..., None]] = {}
        exec(f"def __init__(self, {given}):{body or ' pass'}", {**defaults, **factories}, namespace)
        return namespace["__init__"]

    def _repr(self: object) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__match_args__)})"
