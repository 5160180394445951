"""ML197."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Class, Function, Value
from modellint.source.tensors import made

SUBSEQUENT = "generate_square_subsequent_mask"
TRIANGLES = frozenset({"tril", "triu", SUBSEQUENT})
WEIGHS = frozenset({"softmax", "Softmax", "MultiheadAttention"})
MASK = 5  # the place of `attn_mask` among the arguments of MultiheadAttention
# Where a class says so, something else may hide what comes later.
HIDES = frozenset(
    "masked_fill masked_fill_ where is_causal attn_mask block_mask masked_softmax tril_indices causal attn_bias "
    "flash_attn_func flex_attention cumsum named_buffers".split()
)


class UnusedCausalMask(SourceRule):
    """An attention keeps a causal mask and never applies it.

    Why: the mask is made, moved with the model and saved, and the softmax goes over all positions: each token sees those that
        it is to predict. The loss falls far below what is possible, and what the model writes by itself is noise.
    Fix: `scores = scores.masked_fill(self.mask[:t, :t] == 0, float("-inf"))` before the softmax.
    Ignore: when the mask is kept only for the checkpoints of another version.
    Reported: https://github.com/alex-matton/causal-transformer-decoder/issues/1
    """

    code, severity, certain, topic = "ML197", Severity.ERROR, True, "sequences"
    twins = ("missing-causal-mask",)
    words = (
        ("tril(", "softmax", "Module)"),
        ("triu(", "softmax", "Module)"),
        ("triu(", "MultiheadAttention(", "Module)"),
        ("generate_square_subsequent_mask(", "nn."),
    )
    bad = (
        """
        class Block(nn.Module):
            def __init__(self, width, length):
                super().__init__()
                self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
                mask = torch.triu(torch.full((length, length), float("-inf")), diagonal=1)
                self.register_buffer("causal", mask.view(length, length))

            def forward(self, x, pad):
                return self.attention(x, x, x, key_padding_mask=pad, need_weights=False)[0]
        """,
        """
        class Attention(nn.Module):
            def __init__(self, width, length):
                super().__init__()
                self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
                self.register_buffer("mask", torch.tril(torch.ones(length, length)).view(1, length, length))

            def forward(self, x):
                q, k, v = self.qkv(x).chunk(3, -1)
                weights = F.softmax(q @ k.transpose(-2, -1) / q.size(-1) ** 0.5, dim=-1)
                return self.out(weights @ v)
        """,
        """
        class Writer(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, 4, batch_first=True), 4)

            def forward(self, x):
                mask = nn.Transformer.generate_square_subsequent_mask(x.size(1))
                return self.blocks(x)
        """,
    )
    good = (
        """
        class Attention(nn.Module):
            def __init__(self, width, length):
                super().__init__()
                self.qkv = nn.Linear(width, 3 * width)
                self.register_buffer("causal_mask", torch.tril(torch.ones(length, length)))

            def forward(self, x):
                q, k, v = self.qkv(x).chunk(3, -1)
                return (q @ k.transpose(-2, -1) + self.causal_mask.log()).softmax(-1) @ v
        """,
        """
        class Writer(nn.Module):
            def generate_square_subsequent_mask(self, n):
                return torch.triu(torch.full((n, n), float("-inf")), diagonal=1)

            def forward(self, x):
                return self.blocks(x, self.generate_square_subsequent_mask(x.size(1)))
        """,
        """
        class Writer(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, 4, batch_first=True), 4)

            def forward(self, x, y):
                mask = nn.Transformer.generate_square_subsequent_mask(x.size(1))
                other = nn.Transformer.generate_square_subsequent_mask(y.size(1))
                options = dict(src_key_padding_mask=None, **{"mask": mask})
                return self.blocks(x, **options), self.blocks(y, other if self.causal else None)
        """,
        """
        class Attention(nn.Module):
            def __init__(self, width, length):
                super().__init__()
                self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
                self.register_buffer("mask", torch.tril(torch.ones(length, length)))

            def forward(self, x):
                q, k, v = self.qkv(x).chunk(3, -1)
                scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5
                weights = F.softmax(scores * self.mask - 1e9 * (1 - self.mask), dim=-1)
                return self.out(weights @ v)
        """,
        """
        class Given(nn.Module):  # the mask comes from its caller
            def __init__(self, width, length):
                super().__init__()
                self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
                self.register_buffer("later", torch.triu(torch.ones(length, length), 1).bool())

            def forward(self, x, **options):
                return self.attention(x, x, x, **options)[0]
        """,
        """
        class Placed(nn.Module):
            def __init__(self, width, length):
                super().__init__()
                self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
                self.register_buffer("later", torch.triu(torch.ones(length, length), 1).bool())

            def forward(self, x, pad, mask):
                return self.attention(x, x, x, pad, False, mask)[0]
        """,
        """
        class Decoder(nn.Module):  # its layers are given the mask from outside
            def __init__(self, layer, length):
                super().__init__()
                self.layer = layer
                self.register_buffer("mask", torch.triu(torch.ones(length, length), 1).bool())

            def forward(self, x):
                return self.layer(x).softmax(-1)

        def run(decoder, x):
            return decoder.layer(x, decoder.mask)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        models = {model.name for model in script.models}
        for class_ in (class_ for class_ in script.classes if class_.name in models):
            own = [function for function in script.functions if function.owner == class_.name]
            calls = [call for function in own for call in function.calls]
            away = any(
                (call.unpacks and call.name.startswith("self."))
                or any(given.name == "self" for given in call.arguments)
                for call in calls
            )  # who takes it may read the mask, or give another
            if any(call.method in WEIGHS for call in calls) and not away and not any(map(_hides, calls)):
                for name, kept in _masks(script, class_, own):
                    functions = own if name == "bias" else script.functions  # other layers have one too
                    if not any(_names(function, name, kept) for function in functions):
                        yield self.at(
                            kept, f"makes the causal mask `self.{name}` of `{class_.name}`, and nothing applies it"
                        )
        for function in script.functions if SUBSEQUENT in script.called else ():
            others = [call for call in function.calls if call.method not in (SUBSEQUENT, "size")]
            if others and not any(map(_hides, others)):
                inside = [f for f in script.functions if f.name.startswith(f"{function.name}.")]
                yield from self._unread(function, inside)

    def _unread(self, function: Function, inside: list[Function]) -> Iterator[Diagnostic]:
        """Masks that a function makes for itself, and gives to nothing."""
        for event in function.events:
            made = event.value
            local = (
                event.kind == "assign"
                and "." not in event.name
                and made is not None
                and made.kind == "call"
                and made.method == SUBSEQUENT
            )
            seen = (function, *inside)
            values = [e.value for f in seen for e in f.events if e.value] + [
                b.value for f in seen for b in f.blocks if b.value
            ]
            if local and made is not None and not any(part.name == event.name for v in values for part in v.within()):
                yield self.at(made, f"makes the causal mask `{event.name}`, and nothing is given it", certain=False)


def _hides(call: Value) -> bool:
    named = call.method in HIDES or any(name in HIDES for name, _ in call.keywords)
    return named or (call.name.startswith("self.") and len(call.arguments) > MASK)


def _masks(script: Script, class_: Class, own: list[Function]) -> Iterator[tuple[str, Value]]:
    """The triangles that a class keeps as buffers or attributes, by name."""
    for function in own:
        for call in function.calls:
            name = call.argument(0, "name") if call.method == "register_buffer" else None
            given = call.argument(1, "tensor")
            if (
                name is not None
                and isinstance(name.constant, str)
                and given is not None
                and _is_triangle(given, function)
            ):
                yield name.constant, call
    for place in class_.attributes:
        function = script.functions[place.function]
        value = function.events[place.event].value
        if value is not None and _is_triangle(value, function):
            yield place.name, value


def _is_triangle(value: Value, function: Function) -> bool:
    """Whether it is one, or what a name was bound to that it is arranged from is."""
    return any(part.kind == "call" and part.method in TRIANGLES for part in made(function, value).within())


def _names(function: Function, name: str, made: Value) -> bool:
    """Whether a function names the attribute, be it by a string."""
    values = (event.value for event in function.events if event.value is not None and event.value is not made)
    parts = (
        part
        for value in (*values, *(b.value for b in function.blocks if b.value is not None))
        for part in value.within()
    )
    return any(
        f".{name}." in f"{part.name}." or (isinstance(part.constant, str) and name in part.constant) for part in parts
    )
