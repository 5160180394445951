"""Layers and parameters that a module keeps in plain lists or dicts, where `parameters()` does not find them."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.pattern import pattern

from .code import Attribute, Class, Function, Value
from .facts import Layer
from .items import CONTAINERS
from .relations import Relations
from .resolve import Resolver
from .roles import Roles
from .scope import Source
from .script import Script
from .tensors import bounds

PLAIN = ("list", "tuple", "dict", "set", "comprehension")
WEIGHTED = pattern(
    r"torch\.nn\.(Parameter|parameter\.Parameter|(Lazy)?(Linear|Bilinear|Conv\w+|BatchNorm\w+)|LayerNorm|GroupNorm|RMSNorm|"
    r"SyncBatchNorm|Embedding\w*|LSTM\w*|GRU\w*|RNN\w*|Transformer\w*|MultiheadAttention|PReLU)"
)
DROPOUT = pattern(r"torch\.nn\.\w*Dropout\w*")  # without weights, but with a mode
# Layers of other libraries that no file here defines, by what layers with weights are called.
FOREIGN = pattern(
    r"(timm|torchvision|transformers|torch_geometric|fairseq|mmcv|mmengine|monai|einops|diffusers|flash_attn)\.[\w.]*"
    r"(Block|Layer|Conv|Linear|Attention|Mlp|MLP|Embedding|Encoder|Decoder)(\d[dD])?"
)
# Calls that register what they are given, and methods that hand parameters on.
REGISTERING = frozenset({"add_module", "register_module", "register_parameter", "setattr", "__setattr__", "parameters"})
READING = frozenset({"enumerate", "zip", "len", "reversed", "range", "isinstance", "print", "iter", "append", "list"})
OVERRIDES = ("parameters", "named_parameters", "named_modules", "state_dict", "_apply", "__getattr__")


class Registration:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.roles = Roles(resolver)
        self.relations = Relations(resolver.project)

    def hidden(self, script: Script, class_: Class) -> Iterator[Layer]:
        """The first layer of each plain collection that other methods use and nothing registers."""
        own = [f for f in script.functions if f.owner == class_.name]
        if any(f.name.rpartition(".")[2] in OVERRIDES for f in own) or any(_registers(f) for f in own):
            return
        for name in dict.fromkeys(attribute.name for attribute in class_.attributes):
            places = [a for a in class_.attributes if a.name == name]
            if all(_looks_plain(script.functions[a.function], a.event) for a in places):
                yield from self._of(name, script, own, places)

    def _of(self, name: str, script: Script, own: list[Function], places: list[Attribute]) -> Iterator[Layer]:
        if all(self._is_plain(script, place) for place in places):
            weighted = list(self._weighted(name, script, places[0]))[:1]
            yield from weighted if weighted and not self._escapes(name, script, own, places) else ()

    def _is_plain(self, script: Script, place: Attribute) -> bool:
        """A collection in a method; one item alone is the usual way to hide a module on purpose."""
        function, name = script.functions[place.function], f"self.{place.name}"
        made = self.resolver.assigned(place.event, self.resolver.members.method(script, function, None))
        grows = any(call.name in (f"{name}.append", f"{name}.extend") for call in function.calls)
        alone = not grows and any(s.value.kind in ("list", "tuple") and len(s.value.arguments) == 1 for s in made)
        return function.kind == "function" and bool(made) and all(s.value.kind in PLAIN for s in made) and not alone

    def _escapes(self, name: str, script: Script, own: list[Function], places: list[Attribute]) -> bool:
        """Whether it is handed to something else, is read from outside, or is read nowhere."""
        makers = {id(script.functions[place.function]) for place in places}
        given = (script.functions[place.function].events[place.event].value for place in places)
        names = {f"self.{name}", *(value.name for value in given if value is not None and value.kind == "name")}
        plain = names - {f"self.{name}"}
        if any(_hands_on(function, names) for function in own) or any(_walks(f, plain) for f in own if id(f) in makers):
            return True
        users = [f for f in own if id(f) not in makers and any(_reads(f, f"self.{name}"))]
        outside = (f for other in self.relations.of(script) for f in other.functions if f not in own)
        return not users or any(_reaches(function, name) for function in outside)

    def _weighted(self, name: str, script: Script, place: Attribute) -> Iterator[Layer]:
        frame = self.resolver.members.method(script, script.functions[place.function], None)
        for item in self.resolver.items.all(Source(Value("name", f"self.{name}"), frame)):
            if not _is_kept(item):
                for made in self.resolver.of(item):
                    if made.value.kind == "call" and (layer := self._layer(made)):
                        yield Layer(layer, f"{name}[]", item.value, made.value)

    def _layer(self, made: Source) -> str:
        """The full name of the layer's class, if it has weights."""
        for callee in self.resolver.calls.callees(made):
            if callee.made is not None:
                return ""
            foreign = callee.class_ is None and FOREIGN.fullmatch(callee.name)
            if WEIGHTED.fullmatch(callee.name) or DROPOUT.fullmatch(callee.name) or foreign:
                return callee.name
            if callee.name in CONTAINERS:
                parts = (part for item in self.resolver.items.all(made) for part in self.resolver.of(item))
                return callee.name if any(p.value.kind == "call" and self._layer(p) for p in parts) else ""
            if callee.class_ is not None and callee.script is not None:
                return callee.name if self._holds_weights(callee.script, callee.class_) else ""
        return ""

    def _holds_weights(self, script: Script, class_: Class) -> bool:
        if self.roles.of_class(script, class_) != "model":
            return False
        made = (f for f in script.functions if f.owner == class_.name and f.name.endswith("__init__"))
        return any(WEIGHTED.fullmatch(call.name) for function in made for call in function.calls)


def _looks_plain(function: Function, event: int) -> bool:
    """Without a look at what names mean, which takes its time."""
    value = function.events[event].value
    if value is not None and value.kind == "name":
        return any(bound.kind in PLAIN for bound in bounds(function, value.name))
    return value is not None and value.kind in PLAIN


def _registers(function: Function) -> bool:
    return any(call.method in REGISTERING and str(call.receiver or "") != "super()" for call in function.calls)


def _hands_on(function: Function, names: set[str]) -> bool:
    """Whether a call, other than one that only reads, is given something of one of the names."""
    for call in function.calls:
        given = (*call.arguments, *(value for _, value in call.keywords))
        if call.method not in READING and any(part.name in names for value in given for part in _handed(value)):
            return True
    return False


def _walks(function: Function, names: set[str]) -> bool:
    """Whether a loop goes over something of one of the names: what it does with the items may register them."""
    heads = (b.value for b in function.blocks if b.kind == "for" and b.value is not None)
    return any(part.name in names for head in heads for part in head.within())


def _handed(value: Value) -> Iterator[Value]:
    """A value and all values inside it, but for the item of a collection that is called: only its result is given."""
    yield value
    called = value.kind == "call" and value.base is not None and value.base.kind == "item"
    base = () if called or value.base is None else (value.base,)
    for part in (*base, *value.arguments, *(given for _, given in value.keywords)):
        yield from _handed(part)


def _reads(function: Function, full: str) -> Iterator[bool]:
    values = (*(e.value for e in function.events), *(b.value for b in function.blocks))
    return (True for value in values if value is not None and any(p.name.startswith(full) for p in value.within()))


def _reaches(function: Function, name: str) -> bool:
    """Whether a function reads the attribute of an object other than its own."""
    values = (event.value for event in function.events if event.value is not None)
    parts = (part for value in values for part in value.within())
    return any(name in part.name.split(".")[1:] and not part.name.startswith("self.") for part in parts)


def _is_kept(item: Source) -> bool:
    """Whether the item is registered elsewhere: an attribute of the module too, or another module's, which gave it."""
    value, function = item.value, item.frame.function
    while value.kind == "item" and value.base is not None:  # one of those in a list that registers them
        value = value.base
    name = value.name if value.kind == "name" else ""
    kept = (e for e in function.events if e.kind == "assign" and e.name.startswith("self."))
    given = any(parameter.name == name for parameter in function.parameters)
    return given or name.startswith("self.") or any(name and e.value is not None and e.value.name == name for e in kept)
