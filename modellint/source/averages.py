"""Moving averages of weights: what is updated by what, and which share of itself it keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from modellint.core.pattern import pattern

from . import elements
from .code import Event, Function, Value
from .facts import Average, Setting
from .numbers import Numbers
from .resolve import Resolver
from .scope import Source
from .script import Script
from .summands import Summands, Term, complement, written
from .tensors import bare

# Libraries' averages, with the position of their `decay`.
LIBRARIES = {
    "torch.optim.swa_utils.get_ema_avg_fn": 0, "torch.optim.swa_utils.get_ema_multi_avg_fn": 0,
    "torch_ema.ExponentialMovingAverage": 1,
    "timm.utils.ModelEma": 1, "timm.utils.ModelEmaV2": 1, "timm.utils.ModelEmaV3": 1,
}  # fmt: skip
WEIGHTS = frozenset({"parameters", "named_parameters", "state_dict", "buffers", "named_buffers", "AveragedModel"})
CALLED = WEIGHTS.union(name.rpartition(".")[2] for name in LIBRARIES)
IN_PLACE = frozenset({"copy_", "lerp_", "add_", "sub_", "_foreach_lerp_", "_foreach_add_"})
SUMS = ("+", "-", "add", "lerp")
OF_WEIGHTS = pattern(r"param|weight|shadow|state_dict")
OF_GRADIENTS = pattern(r"grad|loss|reward|exp_avg|momentum_buf")
AVERAGES = frozenset(
    "target targets targ tgt ema teacher slow shadow momentum average averaged avg swa polyak old bar k moving".split()
)
TOKENS = pattern(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
INDEX = pattern(r"\[\w+\]")  # the `k` of `weights[k]` is no key encoder


class Averages:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.summands = Summands(Numbers(resolver))

    def of(self, script: Script) -> Iterator[Average]:
        for function in filter(_may_average, script.functions if not CALLED.isdisjoint(script.called) else ()):
            frame = self.resolver.frame(script, function)
            for at, event in enumerate(function.events):
                if event.value is not None:
                    yield from self._event(event, Source(event.value, frame, at))

    def _event(self, event: Event, source: Source) -> Iterator[Average]:
        value = source.value
        if event.kind == "call" and (place := LIBRARIES.get(value.name)) is not None:
            decay = value.argument(place, "decay")
            shares = tuple(self.summands.number(source, decay)) if decay is not None else ()
            yield Average(value, value.method, "the model", shares)
        elif event.kind == "call" and value.method == "copy_" and value.receiver is not None and value.arguments:
            terms = tuple(self.summands.of(source, value.arguments[0]))
            yield from self._judged(source, written(value.receiver), terms)
        elif event.kind == "call" and value.method in IN_PLACE:
            terms = self.summands.in_place(source)
            yield from self._judged(source, terms[0].name, terms) if terms else ()
        elif event.kind == "augment" and value.name == "+":
            terms = self.summands.added(source, value.arguments[0], value.arguments[1])
            yield from self._judged(source, terms[0].name, terms)
        elif event.kind in ("assign", "return") and bare(value).method in SUMS:
            updated = written(Value("name", event.name)) if event.kind == "assign" else ""
            yield from self._judged(source, updated, tuple(self.summands.of(source, value)))

    def _judged(self, source: Source, updated: str, terms: Sequence[Term]) -> Iterator[Average]:
        names = list(dict.fromkeys(term.name for term in terms))
        if len(names) != 2 or not any(term.factors for term in terms):
            return
        about = {name: elements.about(source.frame.function, name, source.at) for name in names}
        whole = " ".join(about.values())
        if OF_GRADIENTS.search(whole) or not (OF_WEIGHTS.search(whole) or _averages(source)):
            return
        own, named = _own(source, updated, about)
        shares = tuple(self._shares(source, own, terms)) if own else ()
        if shares:
            yield Average(source.value, own, next(name for name in names if name != own), shares, named)

    def _shares(self, source: Source, own: str, terms: Sequence[Term]) -> Iterator[Setting]:
        """What the average keeps of itself, where the shares of both make up the whole."""
        mine, others = ([term for term in terms if (term.name == own) == is_own] for is_own in (True, False))
        if len(others) != 1 or len(others[0].factors) != 1 or others[0].sign < 0:
            return
        taken = others[0].factors[0]
        if len(mine) == 1 and len(mine[0].factors) == 1:
            left = mine[0].factors[0]
            if _complete(left, taken) or self._add_up(source, left, taken):
                yield from self.summands.number(source, left)
        elif len(mine) == 2 and [term.sign for term in mine] == [1, -1] and not mine[0].factors:
            given = self.summands.number(source, taken) if [*map(str, mine[1].factors)] == [str(taken)] else []
            yield from (Setting(1 - found.value, found.location) for found in given)

    def _add_up(self, source: Source, *parts: Value) -> bool:
        numbers = [self.summands.number(source, part) for part in parts]
        return all(len(found) == 1 for found in numbers) and math.isclose(sum(found[0].value for found in numbers), 1)


def _may_average(function: Function) -> bool:
    """Whether it goes over weights, changes a tensor in place, or is given an average."""
    given = function.kind == "lambda" or any(_is_average(parameter.name) for parameter in function.parameters)
    return given or any(call.method in CALLED or call.method in IN_PLACE for call in function.calls)


def _averages(source: Source) -> bool:
    """Whether a function is given to an AveragedModel, or by another method of its object the weights of a model."""
    function, script = source.frame.function, source.frame.script
    if function.owner is not None:
        own = f"self.{function.name.rpartition('.')[2]}"
        others = [f for f in script.functions if f.owner == function.owner and f is not function]
        return any({own} <= (names := {call.name for call in f.calls}) and _gives_weights(names) for f in others)
    return any(
        (rule := call.argument(None, "avg_fn")) is not None and rule.name == function.name for call in script.calls
    )


def _gives_weights(names: set[str]) -> bool:
    return any(name.rpartition(".")[2] in WEIGHTS for name in names)


def _own(source: Source, updated: str, about: Mapping[str, str]) -> tuple[str, bool]:
    """Which of two tensors is the average, and whether their names tell."""
    function = source.frame.function
    called = [name for name, text in about.items() if _is_average(text)]
    if function.owner is None and not updated and function.parameters and _averages(source):
        return (function.parameters[0].name, True) if function.parameters[0].name in about else ("", False)
    if updated in about and "[" not in updated:
        return updated, called == [updated]
    return (called[0], True) if len(called) == 1 else ("", False)


def _complete(left: Value, taken: Value) -> bool:
    """Whether one of two factors is written as one minus the other."""
    pairs = ((complement(left), taken), (complement(taken), left))
    return any(rest is not None and str(rest) == str(other) for rest, other in pairs)


def _is_average(text: str) -> bool:
    return any(token.lower() in AVERAGES for token in TOKENS.findall(INDEX.sub("", text)))
