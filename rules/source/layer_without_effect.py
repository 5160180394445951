"""ML482."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Class, Event, Function, Value
from modellint.source.registration import WEIGHTED

NUMBERED = pattern(r"(self\.\w*?)(\d+)(\w*)")
ACTIVATIONS = pattern(r"torch\.nn\.(\w*ReLU\d?|GELU|SiLU|ELU|SELU|Tanh|Mish)")
# In a class that says so, layers are found by other ways than their names.
FINDS = frozenset(
    "getattr children named_children modules named_modules _modules __dict__ vars eval get_submodule __getattr__".split()
)
HOOKS = frozenset({"register_forward_hook", "register_forward_pre_hook"})  # which see what each layer gives
MAKES = pattern(r"(?i).*\.(__init__|_?(re)?(init|set)\w*|build\w*|_make\w*)")


class LayerWithoutEffect(SourceRule):
    """A layer of a model has no part in what the model gives: it is never called, or what it gives is thrown away.

    Why: the norm, the shortcut or the embedding of positions is made, saved and counted among the parameters, and `forward`
        leaves it out or calls its sibling in its place. A norm that serves two layers mixes their statistics. Where each layer
        of a list is given the same input, only the last one counts.
    Fix: call it, `self.bn2(self.conv2(x))`; feed each layer what the one before it gave, `x = layer(x)`; or delete it.
    Ignore: when it is kept for old checkpoints, or another class calls it.
    Reported: https://github.com/inria-thoth/HySUPP/issues/3, https://github.com/Cadene/pretrained-models.pytorch/issues/79,
        https://github.com/kanezaki/pytorch-unsupervised-segmentation/issues/1
    """

    code, severity, certain, topic = "ML482", Severity.WARNING, False, "structure"
    twins = ("unused-parameter",)
    words = (
        (
            "Module)",
            "def forward(",
            pattern(rb"self\.\w+ = nn\.[A-Z]\w+\("),
            pattern(rb"backward\(|Trainer|LightningModule|\d\("),
        ),
    )
    suspected = (
        """
        class Encoder(nn.Module):
            def __init__(self, width, depth):
                super().__init__()
                self.norm1 = nn.LayerNorm(width)
                self.layers = nn.ModuleList([Layer(width) for _ in range(depth)])

            def forward(self, graph):
                for layer in self.layers:  # each changes the graph itself
                    out = layer(graph)
                return self.norm1(out)
        """,
        """
        class Pair(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norm1 = nn.BatchNorm1d(width)
                self.norm2 = nn.BatchNorm1d(width)  # of old checkpoints

            def forward(self, a, b):
                return self.norm1(a) - self.norm1(b)
        """,
    )
    bad = (
        """
        class Block(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
                self.bn1 = nn.BatchNorm2d(width)
                self.bn2 = nn.BatchNorm2d(width)

            def forward(self, x):
                y = torch.relu(self.bn1(self.conv1(x)))
                return torch.relu(x + self.bn1(self.conv2(y)))
        """,
        """
        class Encoder(nn.Module):
            def __init__(self, width, depth):
                super().__init__()
                self.norm = nn.LayerNorm(width)
                self.layers = nn.ModuleList([nn.TransformerEncoderLayer(width, 4) for _ in range(depth)])

            def forward(self, x, mask):
                for layer in self.layers:
                    out = layer(x, mask)
                return self.norm1(out)
        """,
        """
        class Model(nn.Module):
            def __init__(self, vocabulary, width, length):
                super().__init__()
                self.tokens, self.out1 = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary)
                self.positions = nn.Parameter(torch.zeros(1, length, width))
                nn.init.normal_(self.positions, std=0.02)

            def forward(self, x):
                return self.out1(self.tokens(x))
        """,
    )
    good = (
        """
        class Block(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
                self.bn1 = nn.BatchNorm2d(width)
                self.bn2 = nn.BatchNorm2d(width)
                self.out1 = nn.Linear(width, width)
                self.out2 = nn.Linear(width, width)
                self.out2.weight = self.out1.weight
                self.tail = nn.Sequential(self.out2, nn.ReLU())

            def forward(self, x):
                y = torch.relu(self.bn1(self.conv1(x)))
                return self.tail(torch.relu(x + self.bn2(self.conv2(y))))
        """,
        """
        class Encoder(nn.Module):
            def __init__(self, width, depth):
                super().__init__()
                self.norm1 = nn.LayerNorm(width)
                self.layers = nn.ModuleList([Layer(width) for _ in range(depth)])

            def forward(self, x, mask):
                outputs = []
                for layer in self.layers:
                    out = layer(x, mask)
                    outputs.append(out)
                for layer in self.layers:
                    y = layer(x, mask)
                    x = self.norm1(y)
                for layer in self.layers:
                    if layer.matches(x):
                        z = layer(x)
                        break
                return x, outputs, z
        """,
        """
        class Options(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.fc1 = nn.Linear(width, width)
                self.fc2 = nn.Linear(width, width)

            def forward(self, x, which):
                return getattr(self, f"fc{which}")(x)

        class Outside(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.head1 = nn.Linear(width, width)
                self.head2 = nn.Linear(width, width)

            def forward(self, x):
                return self.head1(self.head1(x))

        def second(model, x):
            return model.head2(x)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        functions: dict[str | None, list[Function]] = {}
        for function in script.functions:
            functions.setdefault(function.owner, []).append(function)
        plain = {class_.name for class_ in script.classes if _is_plain(class_, functions.get(class_.name, []))}
        read = cache(lambda: {w for function in script.functions for w in _words(function, function.owner in plain)})
        for class_ in script.classes:
            own = functions.get(class_.name, [])
            forward = next((function for function in own if function.name == f"{class_.name}.forward"), None)
            if forward is not None and any(event.kind == "return" for event in forward.events):
                torchs = {e.name for e in _kept(own, class_) if e.value is not None and _is_torchs(e.value)}
                unseen = HOOKS.isdisjoint(script.called)
                yield from (self._overwritten(event, of in torchs and unseen) for event, of in _lost(forward))
                yield from self._unused(class_, own, forward, read) if class_.name in plain else ()

    def _overwritten(self, event: Event, sure: bool) -> Diagnostic:
        message = f"gives each layer the same input and keeps what the last one gave: `{event.name}` is overwritten"
        return self.at(event, message, certain=sure)

    def _unused(
        self, class_: Class, own: list[Function], forward: Function, read: Callable[[], set[str]]
    ) -> Iterator[Diagnostic]:
        made = {event.name: event.value for event in _made(own, class_) if event.value is not None}
        calls = Counter(call.name for call in forward.calls)
        for name, value in made.items():
            if read().isdisjoint((name.removeprefix("self."), f"{class_.name}:{name}")):
                twin = _twin(name, made, calls)
                message = f"`{name}` of `{class_.name}` is made and never used"
                message = f"{message}, and `{twin}` is called twice" if twin else message
                yield self.at(value, message, certain=twin != "" and _serves_two(forward, twin))


def _twin(name: str, made: dict[str, Value], calls: Counter[str]) -> str:
    """The layer of the same kind, with another number in its name, that is called in the place of one."""
    found = NUMBERED.fullmatch(name)
    if found is None or not WEIGHTED.fullmatch(made[name].name):
        return ""
    near = (f"{found[1]}{number}{found[3]}" for number in (int(found[2]) - 1, int(found[2]) + 1))
    alike = (other for other in near if other in made and str(made[other]) == str(made[name]))
    return next((other for other in alike if calls[other] > 1), "")


def _serves_two(forward: Function, twin: str) -> bool:
    """Whether a layer follows two that differ in their numbers: `self.bn1(self.conv1(x))`, `self.bn1(self.conv2(y))`."""
    before = (call.argument(0) for call in forward.calls if call.name == twin)
    numbered = [NUMBERED.fullmatch(value.name) for value in before if value is not None and value.kind == "call"]
    served = [(found[1], found[3], found[2]) for found in numbered if found is not None]
    return any(one[:2] == other[:2] and one != other for one in served for other in served)


def _is_torchs(kept: Value) -> bool:
    """Whether a list holds layers of torch alone, of which none acts but by what it gives."""
    calls = [part.name for part in kept.within() if part.kind == "call" and part.name != "range"]
    return kept.name == "torch.nn.ModuleList" and len(calls) > 1 and all(map(WEIGHTED.fullmatch, calls[1:]))


def _is_plain(class_: Class, own: list[Function]) -> bool:
    """Whether the class alone decides which layers are called."""
    bases = [base.name for base in class_.bases]
    calls = [call for function in own for call in function.calls]
    away = any(given.name == "self" for call in calls for given in call.arguments)
    finds = any(call.method in FINDS for call in calls) or any(
        "." in f.name and f.name.endswith("__getattr__") for f in own
    )
    return bases == ["torch.nn.Module"] and not away and not finds


def _kept(own: list[Function], class_: Class) -> Iterator[Event]:
    init = (function for function in own if function.name == f"{class_.name}.__init__")
    yield from (e for function in init for e in function.events if e.kind == "assign" and e.name.startswith("self."))


def _made(own: list[Function], class_: Class) -> Iterator[Event]:
    """The layers and parameters that __init__ makes."""
    for event in _kept(own, class_):
        value = event.value
        layered = value is not None and value.name == "torch.nn.Sequential"
        names = (
            (part.name for part in value.within()) if layered and value is not None else (value.name,) if value else ()
        )
        if (
            value is not None
            and value.kind == "call"
            and any(WEIGHTED.fullmatch(n) or ACTIVATIONS.fullmatch(n) for n in names)
        ):
            yield event


def _words(function: Function, plain: bool) -> Iterator[str]:
    """The attributes that a function reads, but to fill them with their first values; those of `self` with the class, if it is
    `plain`."""
    makes = MAKES.fullmatch(function.name) is not None
    values = [event.value for event in function.events if event.kind not in ("call", "mention")]
    values += [
        event.value
        for event in function.events
        if event.kind in ("call", "mention") and not (makes and _fills(event.value))
    ]
    for value in (*values, *(block.value for block in function.blocks)):
        for part in value.within() if value is not None else ():
            if isinstance(part.constant, str):
                yield part.constant
            elif plain and part.name.startswith("self."):
                _, first, *others = part.name.split(".")
                yield from (f"{function.owner}:self.{first}", *others)
            elif part.name:
                yield from part.name.split(".")


def _fills(value: Value | None) -> bool:
    """`nn.init.zeros_(self.fc.weight)`, `self.fc.weight.data.zero_()`."""
    called = value is not None and value.kind == "call"
    return called and value is not None and (value.name.startswith("torch.nn.init.") or value.method.endswith("_"))


def _lost(forward: Function) -> Iterator[tuple[Event, str]]:
    """What loops over layers bind to the result of each, of the same input, with nothing that reads it there; and of which list."""
    for index, block in enumerate(forward.blocks):
        if (
            block.kind == "for"
            and block.value is not None
            and block.value.name.startswith("self.")
            and block.value.kind == "name"
        ):
            inside = [event for _, event in forward.inside(index)]
            bound = [event for event in inside if event.kind == "assign"]
            if len(bound) == 2 and all(event.kind in ("assign", "call") for event in inside):
                layer, result = bound
                call = result.value
                given = call.arguments[0] if call is not None and call.kind == "call" and call.arguments else None
                reads = call is not None and any(part.name == result.name for part in call.within())
                alike = given is not None and given.kind == "name" and given.name != layer.name
                if call is not None and call.name == layer.name and alike and not reads and len(inside) == 3:
                    yield result, block.value.name
