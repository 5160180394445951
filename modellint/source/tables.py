"""Tables of pandas: whether a value is one, and what splits make parts of."""

from __future__ import annotations

from modellint.core.pattern import pattern

from .code import Value
from .resolve import Resolver
from .scope import Source

MAKES = pattern(r"pandas\.(read_\w+|DataFrame|concat|merge)")
OTHERS = frozenset(  # methods that give a table of other rows, or with other columns
    "drop dropna fillna sort_values reset_index copy sample drop_duplicates head tail query merge join set_index".split()
)
DEEPEST = 20


class Tables:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def hold(self, source: Source, depth: int = 0) -> bool:
        """True only if every value that it may be is surely a table."""
        found = self.resolver.of(source) if depth < DEEPEST else []
        return bool(found) and all(self._is_table(made, depth + 1) for made in found)

    def _is_table(self, made: Source, depth: int) -> bool:
        value = made.value
        if value.kind == "call":
            head = value.receiver if value.method in OTHERS else None
            return MAKES.fullmatch(value.name) is not None or (head is not None and self.hold(made.of(head), depth))
        if value.kind != "item" or value.base is None:
            return False
        if (whole := self.split(made)) is not None:
            return self.hold(whole, depth)
        index = value.arguments[0]
        base = head_of(value.base) if value.base.method in ("iloc", "loc") else value.base
        rows = index.kind in ("list", "unknown", "operation") or (index.kind == "call" and index.method == "isin")
        return rows and base is not None and self.hold(made.of(base), depth)

    def split(self, item: Source) -> Source | None:
        """What `train_test_split` makes a part of: the second array for its third and its fourth result."""
        base, index = item.value.base, item.value.arguments[0].constant
        for made in self.resolver.of(item.of(base)) if base is not None and isinstance(index, int) else ():
            call = made.value
            if call.kind == "call" and call.method == "train_test_split" and isinstance(index, int):
                given = call.arguments[index // 2 : index // 2 + 1]
                return made.of(given[0]) if given and not call.unpacks else None
        return None


def head_of(value: Value) -> Value | None:
    """What an attribute is taken of, if that is not `self`."""
    if value.kind == "attribute":
        return value.base
    head = value.name.rpartition(".")[0]
    return Value("name", head, location=value.location) if head and head != "self" else None
