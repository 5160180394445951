"""Masks as calls make them: filled with a number, cut to a triangle, combined, arranged, turned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .code import Value
from .marks import OPERATORS, Marks, Options, changed, each, everywhere
from .scope import Source

if TYPE_CHECKING:
    from .marking import Marking

FILLS = dict.fromkeys(("ones", "ones_like", "new_ones"), 1.0)
FILLS |= dict.fromkeys(("zeros", "zeros_like", "new_zeros", "empty"), 0.0)
FULL = {"full": 1, "full_like": 1, "new_full": 1, "fill_": 0}
TRIANGLES = {("tril", 0): "past", ("tril", -1): "before", ("triu", 0): "onwards", ("triu", 1): "future"}
# Calls that only arrange a mask, or change the type of its values.
KEEPS = frozenset(
    "unsqueeze squeeze expand expand_as repeat repeat_interleave view view_as reshape flatten contiguous clone detach copy "
    "requires_grad_ byte long int float half double to type type_as astype cuda cpu from_numpy as_tensor tensor Tensor "
    "Variable Parameter array asarray broadcast_to rearrange pad expand_dims unsqueeze_ squeeze_ numpy".split()
)
TURNS = frozenset({"t", "T", "mT", "transpose", "swapaxes"})
LIBRARIES = ("torch.", "numpy.", "einops.")


class Stencils:
    def __init__(self, marking: Marking) -> None:
        self.marking = marking

    def of(self, made: Source) -> Options:
        call, name = made.value, made.value.method
        if name in FILLS:
            return (everywhere(FILLS[name]),)
        if name in FULL:
            return self._given(made, call.argument(FULL[name], "fill_value"))
        if name == "generate_square_subsequent_mask" and self._is_transformers(made):
            return (Marks(frozenset({"past"}), 0, -math.inf),)
        if call.name == "float":
            return self.marking.number(made)
        library = call.name.startswith(LIBRARIES) or call.receiver is None
        subject, rest = (call.argument(0), call.arguments[1:]) if library else (call.receiver, call.arguments)
        if name in OPERATORS and rest and subject is not None:
            return self.marking.computed(made, name, subject, rest[0])
        if name == "where" and len(call.arguments) == 3:
            condition, one, other = (self.marking.of(made.of(part)) for part in call.arguments)
            return each(Marks.filled, other, condition, one)
        return self.applied(made, self._given(made, subject), rest)

    def _is_transformers(self, made: Source) -> bool:
        """Whether it is a method of `torch.nn.Transformer`, or of one that cannot be read."""
        receiver = made.value.receiver
        objects = self.marking.resolver.of(made.of(receiver)) if receiver is not None else []
        names = (found.value.name for found in objects)
        return any(name.startswith("torch.nn.") or "transformer" in name.lower() for name in names)

    def applied(self, made: Source, options: Options, rest: tuple[Value, ...]) -> Options:
        """What a call makes of the mask that it works on."""
        call, name = made.value, made.value.method.rstrip("_")
        if name == "fill":
            return self._given(made, call.argument(0, "value"))
        if name == "masked_fill" and len(rest) > 1:
            return each(Marks.filled, options, *(self.marking.of(made.of(part)) for part in rest[:2]))
        if name in ("tril", "triu"):
            diagonal = next(iter(rest), None) or call.argument(None, "diagonal") or call.argument(None, "k")
            given = self._given(made, diagonal) if diagonal is not None else (everywhere(0),)
            return each(lambda marks, moved: _triangle(marks, name, moved), options, given)
        if name in TURNS:
            return each(Marks.turned, options)
        return options if call.method in KEEPS else changed(options, call.method)

    def _given(self, made: Source, value: Value | None) -> Options:
        return self.marking.of(made.of(value)) if value is not None else ()


def _triangle(marks: Marks, name: str, diagonal: Marks) -> Marks | None:
    where = TRIANGLES.get((name, int(diagonal.inside))) if not diagonal.where else None
    return Marks(frozenset({where}), marks.inside, 0) if where is not None and not marks.where else None
