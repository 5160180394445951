"""The masks that attentions are given, torch's and those written by hand, and what they let them see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from modellint.core.pattern import pattern

from .attention import MASKS, attentions
from .code import Value
from .facts import Mask
from .marking import Marking
from .marks import LOW, Marks
from .project import LIBRARIES
from .resolve import Resolver
from .scope import Callee, Frame, Source
from .script import Script
from .vocabulary import NO_MODELS

# The masks of torch's attentions, by the positions of their arguments.
ARGUMENTS = {
    "MultiheadAttention": {"key_padding_mask": 3, "attn_mask": 5},
    "TransformerEncoderLayer": {"src_mask": 1, "src_key_padding_mask": 2},
    "TransformerEncoder": {"mask": 1, "src_key_padding_mask": 2},
    "TransformerDecoderLayer": {"tgt_mask": 2, "tgt_key_padding_mask": 4, "memory_key_padding_mask": 5},
    "Transformer": {
        "src_mask": 2, "tgt_mask": 3, "src_key_padding_mask": 5, "tgt_key_padding_mask": 6, "memory_key_padding_mask": 7
    },
    "scaled_dot_product_attention": {"attn_mask": 3},
}  # fmt: skip
ARGUMENTS["TransformerDecoder"] = ARGUMENTS["TransformerDecoderLayer"]
SHOWN = "scaled_dot_product_attention"  # here a true value means that a position takes part, else that it is hidden
MASK = pattern(r"(?i)mask|pad|causal")  # in the name of one that is given by position
TELLING = frozenset({"~", "|", "&", "==", "!=", "<", "<=", ">", ">="})  # operators that make one
Hides = Callable[[float], bool]
LAYERS = frozenset(ARGUMENTS) - {SHOWN}
NAMES = frozenset(name for arguments in ARGUMENTS.values() for name in arguments)


class Masks:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.marking = Marking(resolver)

    @cached_property
    def _layers(self) -> bool:
        return any(not LAYERS.isdisjoint(script.called) for script in self.resolver.project.scripts)

    def of(self, script: Script) -> Iterator[Mask]:
        given = self._layers or SHOWN in script.called
        by_hand = not script.called.isdisjoint(("softmax", "Softmax")) and not script.called.isdisjoint(MASKS)
        for function in script.functions if given or by_hand else ():
            frame = self.resolver.frame(script, function)
            yield from self._given(frame) if given else ()
            yield from self._put(frame, script) if by_hand else ()

    def _given(self, frame: Frame) -> Iterator[Mask]:
        """To torch's attentions."""
        for at, event in enumerate(frame.function.events):
            call = event.value if event.kind == "call" else None
            if call is not None and _may_mask(call) and self._may_be_layer(call, frame):
                source = Source(call, frame, at)
                callees = self.resolver.calls.callees(source)
                short = callees[0].name.rpartition(".")[2] if _is_torchs(callees) else ""
                for name, position in ARGUMENTS.get(short, {}).items():
                    given = call.argument(position, name)
                    if given is not None:
                        yield from self._mask(source, given, name, _is_false if short == SHOWN else _is_true)

    def _may_be_layer(self, call: Value, frame: Frame) -> bool:
        """Whether what is called may be an attention: it is no function of a library, of Python or of the file itself."""
        project, script = self.resolver.project, frame.script
        if call.method in ARGUMENTS or call.base is not None:
            return call.method not in NO_MODELS
        of_library = call.name.partition(".")[0] in LIBRARIES
        written = f"{frame.function.owner}.{call.method}" if call.name == f"self.{call.method}" else call.name
        known = project.function(script, written) or project.class_(script, written)
        return not (of_library or known) and call.method not in NO_MODELS

    def _put(self, frame: Frame, script: Script) -> Iterator[Mask]:
        """Into the scores of an attention by hand."""
        for found in attentions(script, frame.function):
            for step in found.before:
                events = enumerate(frame.function.events)
                at = next((i for i, e in events if e.value is not None and step in e.value.within()), None)
                if at is None:  # scores that are set by their places: `scores[:, i, i] = -1e9`
                    continue
                source = Source(step, frame, at)
                for given, hides in self._hiding(source):
                    yield from self._mask(source, given, "", hides)

    def _hiding(self, source: Source) -> Iterator[tuple[Value, Hides]]:
        """The mask by which a step hides scores, and whether a value of it does."""
        step = source.value
        if step.kind == "operation":
            yield from ((part, _lowers) for part in step.arguments)
        elif step.method == "where" and len(step.arguments) == 3:
            condition, one, other = step.arguments
            yield from ((condition, _is_true) for _ in range(self._is_low(source.of(one))))
            yield from ((condition, _is_false) for _ in range(self._is_low(source.of(other))))
        elif step.method in MASKS and len(step.arguments) > 1 and self._is_low(source.of(step.arguments[-1])):
            yield step.arguments[-2], _is_true

    def _is_low(self, source: Source) -> bool:
        options = self.marking.of(source)
        return bool(options) and all(not marks.where and _lowers(marks.inside) for marks in options)

    def _mask(self, source: Source, given: Value, name: str, hides: Hides) -> Iterator[Mask]:
        options = self.marking.of(source.of(given))
        shown = tuple(_shown(marks, hides) for marks in options)
        if shown and all(shown):
            yield Mask(source.value, given, name, shown, all(marks.sure for marks in options))


def _shown(marks: Marks, hides: Hides) -> frozenset[str]:
    lowers = _lowers(marks.inside) or _lowers(marks.outside)
    return marks.shown(_lowers if lowers else hides)


def _may_mask(call: Value) -> bool:
    """Whether a mask may be among its arguments: only then it is worth asking what is called."""
    if call.method == SHOWN or any(name in NAMES for name, _ in call.keywords):
        return True
    return any(part.name in TELLING or MASK.search(part.name) for part in call.arguments[1:])


def _is_torchs(callees: Sequence[Callee]) -> bool:
    """Whether only a layer or function of torch is called, and no layer is made."""
    if len(callees) != 1 or callees[0].class_ is not None or not callees[0].name.startswith("torch.nn."):
        return False
    return callees[0].made is not None or callees[0].name.endswith(SHOWN)


def _lowers(value: float) -> bool:
    return value <= LOW


def _is_true(value: float) -> bool:
    return value == 1


def _is_false(value: float) -> bool:
    return value == 0
