"""Model classes: the layers that their forward applies, in execution order, and those that __init__ makes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modellint.core.record import dataclass, replace

from . import gradient
from .code import Event, Value
from .facts import Layer
from .items import CONTAINERS
from .resolve import Resolver
from .scope import Callee, Frame, Source
from .script import Script
from .vocabulary import TENSOR_METHODS

DEEPEST = 8  # modules within modules
MOST = 400  # layers of one model
NESTED = 30  # names of modules on the way to one: a container may be put into itself
# In a file that says so, some layers get their weights by other ways than training.
SETTLES = frozenset({"requires_grad", "requires_grad_", "load_state_dict", "from_pretrained", "copy_", "lerp_", "data"})


@dataclass(frozen=True, slots=True)
class Nest:
    """The modules around a layer."""

    path: str = ""
    repeated: bool = False
    chain: tuple[int, ...] = ()
    entered: Value | None = None  # the call in forward that leads there
    cut: Value | None = None  # the call in forward whose result has no graph

    def inside(self, name: str, repeated: bool, frame: Frame | None = None) -> Nest:
        path = ".".join(part for part in (self.path, name) if part)
        chain = (*self.chain, id(frame.function)) if frame is not None else self.chain
        return replace(self, path=path, repeated=self.repeated or repeated, chain=chain)

    def recording(self, frame: Frame, block: int, call: Value, lost: Collection[int]) -> Nest:
        """What is called in the model's own methods where autograd is off, or is `lost` behind a detach(), is cut off."""
        own = self.cut is None and not self.path and SETTLES.isdisjoint(frame.script.attributes)
        off = own and (id(call) in lost or gradient.recorded(frame.function, block) is False)
        return replace(self, cut=self.entered or call) if off else self


class Layers:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._left = MOST
        self._lost: Collection[int] = ()

    def applied(self, frame: Frame, lost: Collection[int] = ()) -> tuple[Layer, ...]:
        """What a forward applies; `lost` are the calls of whose results no gradient comes back."""
        self._left, self._lost = MOST, lost
        return tuple(self._run(frame, Nest(chain=(id(frame.function),))))

    def made(self, script: Script, frame: Frame) -> Iterator[Layer]:
        """The layers that an __init__ constructs, in order."""
        for at, event in enumerate(frame.function.events):
            if event.kind == "call" and event.value is not None:
                for callee in self.resolver.calls.callees(Source(event.value, frame, at)):
                    if callee.made is None and _is_layer(callee.name):
                        yield Layer(callee.name, made=event.value)

    def _run(self, frame: Frame, nest: Nest) -> Iterator[Layer]:
        for at, event in enumerate(frame.function.events):
            if self._left <= 0:
                return
            repeated = any(frame.function.blocks[b].is_loop for b in frame.function.enclosing(event.block))
            if event.kind == "call" and event.value is not None:
                here = nest.recording(frame, event.block, event.value, self._lost)
                yield from self._called(Source(event.value, frame, at), here, repeated)
            elif (added := _sum(event)) is not None:
                yield self._layer(Layer("+", nest.path, call=added, repeated=nest.repeated or repeated))

    def _called(self, source: Source, nest: Nest, repeated: bool) -> Iterator[Layer]:
        call, callees = source.value, self.resolver.calls.callees(source)
        made = [callee.made for callee in callees if callee.made is not None]
        if len({callee.name for each in made for callee in self.resolver.calls.callees(each)}) > 1:  # one of several
            yield self._layer(Layer("", nest.inside(_path(source), repeated).path, call, repeated=repeated))
        for callee in callees[:1]:
            if callee.made is not None:
                yield from self._module(callee.made, call, nest.inside(_path(source), repeated), callee, source)
            elif callee.function is not None:
                yield from self._enter(callee, source, nest.inside("", repeated))
            elif callee.name.startswith("torch.") or call.method in TENSOR_METHODS:
                name = callee.name if callee.name.startswith("torch.") else call.method
                yield self._layer(Layer(name, nest.path, call=call, repeated=nest.repeated or repeated))
            elif call.name.startswith("self.") and callee.name == call.name:
                path = nest.inside(_path(source), repeated).path
                yield self._layer(Layer("", path, call=call, repeated=nest.repeated or repeated))

    def _enter(self, callee: Callee, source: Source, nest: Nest) -> Iterator[Layer]:
        frame = self.resolver.calls.enter(callee, source)
        if frame is not None and id(frame.function) not in nest.chain and len(nest.chain) < DEEPEST:
            entered = nest.entered or source.value
            yield from self._run(frame, replace(nest.inside("", False, frame), entered=entered))

    def _module(self, made: Source, call: Value, nest: Nest, callee: Callee, source: Source) -> Iterator[Layer]:
        if callee.function is not None:
            yield from self._enter(callee, source, nest)
            return
        container = made if callee.name in CONTAINERS else self.resolver.items.inherited(made)
        if container is not None and self._left > 0 and nest.path.count(".") < NESTED:
            for index, item in enumerate(self.resolver.items.all(container)):
                yield from self._item(
                    item, call, nest.inside(str(index), item.frame.function is not made.frame.function)
                )
        else:
            yield self._layer(Layer(callee.name, nest.path, call, made.value, nest.repeated, nest.cut))

    def _item(self, item: Source, call: Value, nest: Nest) -> Iterator[Layer]:
        """A module in a Sequential, applied by the call of the Sequential."""
        for made in self.resolver.of(item)[:1]:
            if made.value.kind == "call":
                # what it is called with is the output of the one before: no argument of the call
                source = made.of(Value("call", base=made.value, location=made.value.location))
                for callee in self.resolver.calls.callees(source)[:1]:
                    yield from self._module(made, call, nest, callee, source)

    def _layer(self, layer: Layer) -> Layer:
        self._left -= 1
        return layer


def _sum(event: Event) -> Value | None:
    """A sum of two things that are no constants: a residual connection, or another sum of activations."""
    value = event.value
    if event.kind not in ("assign", "augment", "return") or value is None or value.kind != "operation":
        return None
    plain = value.name == "+" and all(a.kind != "constant" for a in value.arguments)
    return value if plain and len(value.arguments) == 2 else None


def _path(source: Source) -> str:
    """The attribute that a module is called by: `fc` of `self.fc(x)`, `blocks[]` of an element of `self.blocks`."""
    call = source.value
    if call.name.startswith("self."):
        return call.name.removeprefix("self.")
    value = call.base
    if value is None:
        events = source.frame.function.events[: source.at]
        value = next((e.value for e in reversed(events) if e.kind == "assign" and e.name == call.name), None)
    while value is not None and value.kind in ("item", "element") and value.base is not None:
        value = value.base
    return f"{value.name.removeprefix('self.')}[]" if value is not None and value.name.startswith("self.") else ""


def _is_layer(name: str) -> bool:
    return name.startswith("torch.nn.") and name.rpartition(".")[2][:1].isupper()
