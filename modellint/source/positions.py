"""Which positions a comparison tells: padding by its id or by lengths, and what comes before or after by two ranges."""

from __future__ import annotations

import re

from modellint.core.pattern import pattern

from .code import Value
from .marks import TOKENS, Marks
from .resolve import Resolver
from .scope import Source

PAD = pattern(r"(?i)(.*_)?pad(ding)?(_?(id|idx|index|indices|token|value|symbol|word|num).*)?")
LENGTHS = pattern(r"(?i)(\w+_)?(len|lens|length|lengths|seqlens?|\w*lengths?)(_\w)?")
PARTIAL = pattern(r"(?i).*(pad|prefix|prompt|start|skip|mem|left|past|cond|hist|max|min).*")
IDS = pattern(
    r"(?i)(src|tgt|trg|source|target|inp|ids|tokens?|seqs?|sequences?|words?|texts?|sentences?|captions?|"
    r"\w+_?(ids|tokens?|seqs?|words?)|(src|tgt|trg|dec|enc|decoder|encoder)_(in|inp|inputs?|outputs?|data))"
)
OTHER = pattern(r"(?i).*(mask|miss|inval|ignor|drop|done|type|seg|label|special|pos).*")
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
# Of the pairs (i, j), with i along the rows and j along the columns, those for which the relation holds.
ORDERS = {">=": "past", ">": "before", "<": "future", "<=": "onwards"}
ARRANGES = frozenset("unsqueeze expand view reshape repeat to long int float type_as type cuda expand_as clone".split())
DEEPEST = 8


class Positions:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def compared(self, name: str, left: Source, right: Source) -> Marks | None:
        if name in ("==", "!="):
            return self._padded(name == "!=", left, right) or self._padded(name == "!=", right, left)
        if name not in MIRRORED:
            return None
        if name in (">", "<=") and self._constants(right) == {0}:
            return self._padded(name == ">", left, right)
        return self._counted(name, left, right) or self._counted(MIRRORED[name], right, left)

    def _padded(self, differs: bool, ids: Source, pad: Source) -> Marks | None:
        """`tokens != pad`."""
        named = any(map(PAD.fullmatch, _words(pad.value)))
        words = _words(ids.value)
        if any("mask" in word for word in words) or not (named or self._constants(pad) in ({0}, {-1})):
            return None
        if not named and any(map(OTHER.fullmatch, words)):
            return None
        sure = named or any(map(IDS.fullmatch, words)) or _is_embedded(ids)
        return Marks(TOKENS, differs, not differs, sure)

    def _constants(self, source: Source) -> set[object]:
        return {made.value.constant for made in self.resolver.of(source)}

    def _counted(self, name: str, left: Source, right: Source) -> Marks | None:
        """`arange(n) < lengths[:, None]`; `arange(n)[:, None] >= arange(n)`."""
        range_, rows = self._range(left)
        if not range_:
            return None
        if self._is_length(right):
            return Marks(TOKENS, name in ("<", "<="), name in (">", ">="))
        other, columns = self._range(right)
        turned = {(True, False): name, (False, True): MIRRORED[name]}.get((rows, columns)) if other else None
        return Marks(frozenset({ORDERS[turned]}), 1, 0) if turned is not None else None

    def _range(self, source: Source) -> tuple[bool, bool]:
        """Whether it counts positions, and whether it does so down the rows: `arange(n)[:, None]`."""
        rows = False
        for _ in range(DEEPEST):
            found = self.resolver.of(source)
            inner = _inside(found[0].value) if len(found) == 1 else None
            if inner is None:
                return bool(found) and found[0].value.method == "arange", rows
            rows = rows or _is_column(found[0].value)
            source = found[0].of(inner)
        return False, rows

    def _is_length(self, source: Source) -> bool:
        for _ in range(DEEPEST):
            word = _words(source.value)[-1:] if source.value.kind in ("name", "attribute") else []
            if any(map(LENGTHS.fullmatch, word)):
                return not any(map(PARTIAL.fullmatch, word))
            found = self.resolver.of(source)
            inner = _inside(found[0].value) if len(found) == 1 else None
            if inner is None:
                return False
            source = found[0].of(inner)
        return False


def _words(value: Value) -> list[str]:
    """The names and keys that are written in a value: of `batch["src"][:, 1:]` batch and src."""
    return re.findall(r"[A-Za-z_]\w*", str(value))


def _inside(value: Value) -> Value | None:
    """What a value is arranged from."""
    if value.kind == "item":
        return value.base
    arranges = value.kind == "call" and value.method in ARRANGES and not value.name.startswith("torch.")
    return value.receiver if arranges else None


def _is_column(value: Value) -> bool:
    """`x[:, None]`, `x.unsqueeze(1)`, `x.view(-1, 1)`."""
    if value.kind == "item":
        index = value.arguments[0].arguments
        return len(index) == 2 and index[1].kind == "constant" and index[1].constant is None
    given = [part.constant for part in value.arguments]
    return given in ([1], [-1]) if value.method == "unsqueeze" else given == [-1, 1]


def _is_embedded(ids: Source) -> bool:
    """Whether the function looks up embeddings of it."""
    written = str(ids.value)
    calls = (call for call in ids.frame.function.calls if call.arguments and "emb" in call.name.lower())
    return any(str(call.arguments[0]) == written for call in calls)
