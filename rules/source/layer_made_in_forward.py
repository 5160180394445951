"""ML475."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value

KINDS = (
    r"(?:Bil|L)inear|Conv(?:Transpose)?[123]d|Embedding|(?:LSTM|GRU|RNN)(?:Cell)?"
    r"|MultiheadAttention|Transformer(?:En|De)coderLayer"
)
WEIGHTED = pattern(rf"torch\.nn\.(?:{KINDS})")
MOVES = frozenset({"to", "cuda", "double", "half", "float", "type", "train", "type_as"})
# Where new weights in each pass are what is meant.
MEANT = pattern(r"rand|noise|augment|hash|sketch|perturb|reservoir|fixed|init", re.IGNORECASE)


class LayerMadeInForward(SourceRule):
    """A layer with weights is made anew in each call of `forward`.

    Why: its weights are drawn at random in every pass, and no optimizer, `state_dict()` or `.to(device)` knows of them. What is
        learned behind it is learned on noise, and the same input never gives the same output.
    Fix: make the layer in `__init__`, `self.fc = nn.Linear(...)`, and apply it in `forward`; where its size is only known
        then, `nn.LazyLinear`.
    Ignore: when a random map in each pass is the point.
    Reported: https://github.com/graykode/nlp-tutorial/issues/29, https://github.com/wangyida/softpool/issues/11
    """

    code, severity, certain, topic = "ML475", Severity.ERROR, True, "structure"
    explains = ("loss-not-falling",)
    words = (
        (
            "Module)",
            pattern(
                rb"def forward\([^\n]*\n(?:(?![ \t]*(?:def|class) )[^\n]*\n)*?(?![ \t]*(?:def|class) )[^\n]*nn\.(?:%s)\("
                % KINDS.encode()
            ),
        ),
    )
    bad = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.out = nn.Conv2d(1, 32, 3), nn.Linear(128, 10)

            def forward(self, x):
                x = torch.flatten(F.relu(self.conv(x)), 1)
                x = F.relu(nn.Linear(x.size(1), 128).to(x.device)(x))
                return self.out(x)
        """,
        """
        class Pool(nn.Module):
            def forward(self, x):
                mix = nn.Conv2d(x.size(1), x.size(1), 1).cuda()
                return mix(x)
        """,
        """
        class Attention(nn.Module):
            def forward(self, context, q):
                self.fc = nn.Linear(64, 512)
                return self.fc(context) + q
        """,
        """
        class Head(nn.Module):
            def forward(self, x):
                return nn.Sequential(nn.Linear(x.size(-1), 64), nn.ReLU(), nn.Linear(64, 2))(x)
        """,
    )
    suspected = (
        """
        class Net(nn.Module):
            def forward(self, x):
                if hasattr(self, "fc"):
                    return self.fc(x)
                self.fc = nn.Linear(x.size(1), 10)
                return self.fc(x)
        """,
    )
    good = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = None

            def forward(self, x):
                x = nn.ReLU()(x)
                if self.fc is None:
                    self.fc = nn.Linear(x.size(1), 10)
                return nn.Softmax(dim=1)(self.fc(x))
        """,
        """
        class Blur(nn.Module):
            def forward(self, x):
                blur = nn.Conv2d(1, 1, 3, bias=False)
                blur.weight.data = self.kernel
                return blur(x)
        """,
        """
        class RandomConvolution(nn.Module):
            def forward(self, x):
                return nn.Conv2d(3, 3, 3, padding=1)(x)
        """,
        """
        class Copy(nn.Module):
            def forward(self, x):
                layer = nn.Linear(8, 8)
                layer.load_state_dict(self.state)
                with torch.no_grad():
                    shape = nn.Conv2d(3, 8, 3)(x).shape
                return layer(x), shape
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        forwards = {f"{class_.name}.forward" for class_ in script.classes if not MEANT.search(class_.name)}
        models = {f"{model.name}.forward" for model in script.models}
        for function in script.functions:
            if function.name in forwards & models and not function.decorators:
                for at, event in enumerate(function.events):
                    layer = _applied(function, at, event) if event.kind == "call" else None
                    if layer is not None and not _is_shape_only(function, event):
                        message = f"makes a new `{layer.method}` in each pass, whose weights nothing trains"
                        always = not _is_conditional(function, event.block) and not _may_be_over(function, at)
                        yield self.at(layer, message, certain=always)


def _applied(function: Function, at: int, event: Event) -> Value | None:
    """The new layer that a call applies: `nn.Linear(8, 8)(x)`, or by the name that it was given in the same pass."""
    call = event.value
    if call is None:
        return None
    if call.base is not None and not call.name:
        return _layer(call.base)
    made = [e for e in function.events if e.kind == "assign" and e.name == call.name]
    layer = _layer(made[0].value) if len(made) == 1 and made[0].value is not None else None
    given = next((i for i, e in enumerate(function.events) if made and e is made[0]), at)
    always = not call.name.startswith("self.") or not _is_conditional(function, made[0].block if made else 0)
    return layer if layer is not None and given < at and always and not _is_touched(function, call.name) else None


def _layer(made: Value) -> Value | None:
    while made.kind == "call" and made.base is not None and made.name in MOVES:
        made = made.base
    if made.name == "torch.nn.Sequential":
        return next((layer for layer in made.arguments if WEIGHTED.fullmatch(layer.name)), None)
    return made if made.kind == "call" and WEIGHTED.fullmatch(made.name) else None


def _may_be_over(function: Function, at: int) -> bool:
    """Whether the pass may have come to an end before, as where a layer is there already, or draws from a seed."""
    seeded = any(call.method in ("manual_seed", "fork_rng", "set_rng_state") for call in function.calls)
    return seeded or any(event.kind == "return" for event in function.events[:at])


def _is_conditional(function: Function, block: int) -> bool:
    return any(
        function.blocks[index].kind in ("if", "else", "try", "except", "case") for index in function.enclosing(block)
    )


def _is_touched(function: Function, name: str) -> bool:
    """Whether anything but a call of the layer is done with it: its weights are set, or it is given away."""
    for event in function.events:
        if event.kind in ("assign", "augment") and event.name.startswith((f"{name}.", f"{name}[")):
            return True
        for part in event.value.within() if event.value is not None else ():
            moved = part.kind == "call" and (part.name == name or part.method in MOVES)
            if f"{part.name}.".startswith(f"{name}.") and not moved:
                return True
    return False


def _is_shape_only(function: Function, event: Event) -> bool:
    around = (function.blocks[index] for index in function.enclosing(event.block))
    return any(block.kind == "with" and "no_grad" in str(block.value) for block in around)
