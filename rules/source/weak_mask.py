"""ML483."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.attention import MASKS, Attention, attentions
from modellint.source.code import Event, Function, Value
from modellint.source.sums import negated
from modellint.source.tensors import operand

FILLS = MASKS - {"where"}
TINY = 1e-3  # no number that anybody would hide by on purpose: 1e-9 for -1e9
HIDES = pattern(r"(?i)mask|pad|valid|tri[lu]|causal|length")  # by what is to be hidden; a score can also be mended
MENDS = pattern(r"isnan|isinf|isfinite")
WEAK = 5.0  # a score that is lowered to -5 keeps a weight of some e^-5 of the others'


class WeakMask(SourceRule):
    """What is to hide positions from an attention leaves their scores near the others.

    Why: a score is hidden by a number far below all others, `-inf` or -1e9. Set to 0 or 1e-9 (often meant as -1e9) it is a score
        like any other, and the softmax gives its position a weight; a float mask of ones is added to the scores and raises them.
        Padding and later tokens are then attended to, and nothing fails.
    Fix: `scores.masked_fill(mask == 0, float("-inf"))` before the softmax; give `attn_mask` as `bool`, or with `-inf` in it.
    Ignore: when hidden positions are to keep a weight. A fill of 0 beside one of `-inf`, for rows that are hidden as a whole,
        is not reported.
    Reported: https://github.com/awslabs/gluonts/pull/1401, https://github.com/Shujun-He/RibonanzaNet/issues/5,
        https://github.com/hyunwoongko/transformer/issues/10, https://github.com/NTMC-Community/MatchZoo-py/issues/163
    """

    code, severity, certain, topic = "ML483", Severity.ERROR, True, "structure"
    twins = ("missing-causal-mask",)
    words = (
        ("oftmax(", pattern(rb"masked_fill_?\([^\n]*, *(?:value=)?-?(?:0(?:\.0*)?|[1-9](?:\.\d*)?e-\d+|0\.\d+|[1-4](?:\.\d*)?)\)")),
        ("attn_mask=", pattern(rb"tri[lu]\(torch\.ones\((?![^\n]*bool)")),
    )  # fmt: skip
    suspected = (
        """
    class Graph(nn.Module):
        def forward(self, q, k, v, loops):
            scores = torch.matmul(q, k.transpose(1, 2)).masked_fill(loops, 0.0)
            return torch.matmul(torch.softmax(scores, dim=-1), v)
    """,
        """
    class Cosine(nn.Module):
        def forward(self, q, k, v, mask):
            scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(1, 2)
            weights = torch.softmax(scores.masked_fill(mask, -1.0) * 50.0, dim=-1)
            return weights @ v
    """,
    )
    bad = (
        """
        class Attention(nn.Module):
            def forward(self, hidden, states, mask):
                scores = self.v(torch.tanh(self.attn(torch.cat((hidden, states), dim=2)))).squeeze(2)
                scores = scores.masked_fill(mask == 0, 1e-10)
                return F.softmax(scores, dim=1)
        """,
        """
        class Block(nn.Module):
            def __init__(self, width, length):
                super().__init__()
                self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
                self.register_buffer("mask", torch.triu(torch.ones(length, length), diagonal=1))

            def forward(self, x):
                n = x.size(1)
                return self.attention(x, x, x, attn_mask=self.mask[:n, :n], need_weights=False)[0]
        """,
        """
        class Attention(nn.Module):
            def forward(self, q, k, v, mask):
                scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5
                scores = scores.masked_fill(mask == 0, 1e-9)
                return torch.softmax(scores, dim=-1) @ v
        """,
        """
        class Attention(nn.Module):
            def forward(self, q, k, v):
                scores = torch.bmm(q, k.transpose(1, 2))
                scores = scores.masked_fill(self.mask, 0)
                weights = F.softmax(scores, dim=-1)
                return torch.bmm(weights, v)
        """,
    )
    good = (
        """
        class Attention(nn.Module):
            def forward(self, q, k, v, mask, loops):
                scores = q @ k.transpose(-2, -1)
                scores = scores.masked_fill(scores.isnan(), 0.0)
                weights = torch.softmax(scores, dim=-1)
                kept = torch.matmul(q, k.transpose(1, 2))
                kept = torch.where(mask, kept, -1e9).masked_fill(loops, 0.0)
                return weights @ v + torch.matmul(torch.softmax(kept, dim=-1), v)
        """,
        """
        class Block(nn.Module):
            def __init__(self, width, length):
                super().__init__()
                self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
                self.register_buffer("mask", torch.triu(torch.ones(length, length), 1))
                self.mask.mul_(-1e9)

            def forward(self, x):
                later = torch.triu(torch.ones(x.size(1), x.size(1)), 1)
                later[later == 1] = float("-inf")
                weak = torch.triu(torch.ones(x.size(1), x.size(1)), 1)
                weak *= -1e9
                x = self.attention(x, x, x, attn_mask=later)[0] + self.attention(x, x, x, attn_mask=weak)[0]
                return self.attention(x, x, x, attn_mask=self.mask)[0]
        """,
        """
        class Pointer(nn.Module):
            def forward(self, scores, mask, empty):
                scores = scores.masked_fill(mask, -1e9)
                scores = scores.masked_fill(empty, 0.0)
                return F.softmax(scores, dim=-1)
        """,
        """
        class Block(nn.Module):
            def __init__(self, width, length):
                super().__init__()
                self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
                self.relative = Relative(width)
                self.register_buffer("mask", torch.triu(torch.ones(length, length), diagonal=1).bool())
                self.register_buffer("table", torch.tril(torch.ones(length, length)))
                self.register_buffer("ones", torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1))

            def forward(self, x):
                x = self.relative(x, attn_mask=self.table)
                x = self.attention(x, x, x, attn_mask=self.ones)[0]
                return self.attention(x, x, x, attn_mask=self.mask, need_weights=False)[0]
        """,
        """
        class Attention(nn.Module):
            def forward(self, q, k, v, mask):
                scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5
                scores = scores.masked_fill(mask == 0, float("-inf"))
                scores = scores.masked_fill(mask.sum(-1, keepdim=True) == 0, 0.0)  # rows without any token
                return torch.softmax(scores, dim=-1) @ v
        """,
        """
        class Attention(nn.Module):
            def forward(self, q, k, v, mask):
                scores = q @ k.transpose(-2, -1)
                weights = torch.softmax(scores.masked_fill(mask, -1e4), dim=-1).masked_fill(mask, 0.0)
                return weights @ v.masked_fill(mask.unsqueeze(-1), 0)
        """,
        """
        class Attention(nn.Module):
            def forward(self, q, k, v, mask, bias):
                bias = torch.zeros_like(bias).masked_fill(mask, -1e9)
                scores = q @ k.transpose(-2, -1) + bias
                scores = scores.masked_fill(self.eye, 0.0)
                return torch.softmax(scores, dim=-1) @ v
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            known = set[int]()
            for found in attentions(script, function):
                fills = [step for step in found.before if step.kind == "call" and step.method in MASKS]
                known |= {id(step) for step in found.before}
                alone = len(fills) == 1 and fills[0].method in FILLS and not any(map(_adds, found.before))
                value = fills[0].arguments[-1] if alone and len(fills[0].arguments) > 1 else None
                if value is not None and _is_weak(value) and not _mends(fills[0]):
                    message = f"sets the scores that it is to hide to `{value}`, which leaves them a weight"
                    yield self.at(fills[0], message, certain=_is_sure(found, fills[0], value))
            for fill in _before_softmax(function):
                value = fill.arguments[-1]
                if id(fill) not in known and _is_weak(value) and not _mends(fill):
                    message = f"sets the scores that it is to hide to `{value}`, which leaves them a weight"
                    yield self.at(fill, message, certain=0 < abs(value.number or 0) < TINY)
            for call in function.calls:
                given = call.argument(None, "attn_mask")
                if given is not None and _is_ones(script, function, given) and _is_torchs(script, function, call):
                    yield self.at(given, f"`{given}` holds floats of 1, which are added to the scores and hide nothing")


def _before_softmax(function: Function) -> Iterator[Value]:
    """The fills whose result is given to a softmax as it is; what is filled twice is not among them."""
    for at, event in enumerate(function.events):
        call = event.value if event.kind == "call" else None
        given = operand(call) if call is not None and call.method == "softmax" and call.name != "self.softmax" else None
        fill, place = _made(function, given, at)
        if fill is not None and fill.kind == "call" and fill.method in FILLS and len(fill.arguments) > 1:
            before, _ = _made(function, fill.receiver, place)
            if before is not None and not any(part.method in FILLS for part in before.within()):
                yield fill


def _made(function: Function, value: Value | None, at: int) -> tuple[Value | None, int]:
    """What a name was last bound to before an event, and by which; other values are what they are."""
    if value is None or value.kind != "name":
        return value, at
    places = (i for i in range(at - 1, -1, -1) if function.events[i].name == value.name)
    place = next((i for i in places if function.events[i].kind in ("assign", "augment")), None)
    return (function.events[place].value, place) if place is not None else (value, at)


def _is_torchs(script: Script, function: Function, call: Value) -> bool:
    if call.name.endswith(".scaled_dot_product_attention"):
        return True
    near = (f for f in script.functions if f.owner == function.owner)
    made = [
        e.value for f in near for e in f.events if e.kind == "assign" and e.name == call.name and e.value is not None
    ]
    return bool(made) and all(value.name == "torch.nn.MultiheadAttention" for value in made)


def _is_ones(script: Script, function: Function, given: Value) -> bool:
    """Whether it is, on every way, a triangle of floats: `torch.triu(torch.ones(n, n), 1)`."""
    while given.kind == "item" and given.base is not None:
        given = given.base
    near = [function, *(f for f in script.functions if f.owner == function.owner and given.name.startswith("self."))]
    if given.kind != "name":
        made = [given]
    elif given.name.startswith("self."):
        made = [
            e.value
            for f in near
            for e in f.events
            if e.kind == "assign" and e.name == given.name and e.value is not None
        ]
        buffers = (
            call for f in near for call in f.calls if call.method == "register_buffer" and len(call.arguments) > 1
        )
        made += [call.arguments[1] for call in buffers if f"self.{call.arguments[0].constant}" == given.name]
    else:
        made = [e.value for e in function.events if e.kind == "assign" and e.name == given.name and e.value is not None]
    changed = any(_changes(event, given.name) for f in near for event in f.events) if given.kind == "name" else False
    return (
        bool(made)
        and not changed
        and all(
            value.name in ("torch.triu", "torch.tril")
            and bool(value.arguments)
            and value.arguments[0].name == "torch.ones"
            and value.arguments[0].argument(None, "dtype") is None
            for value in made
        )
    )


def _changes(event: Event, name: str) -> bool:
    """`mask *= -1e9`, `mask[mask == 1] = -inf`, `mask.masked_fill_(...)`."""
    value = event.value
    done = (
        value is not None and value.kind == "call" and value.name.startswith(f"{name}.") and value.method.endswith("_")
    )
    items = event.kind == "assign" and event.name.startswith(f"{name}[")
    return done or items or (event.kind == "augment" and event.name.partition("[")[0] == name)


def _is_sure(found: Attention, fill: Value, value: Value) -> bool:
    """Whether it can only be meant to hide: a score of -1 may be far below the others, and a bias may hide what a fill does not."""
    low = negated(value)
    number = (low or value).number or 0.0
    near = abs(number) < TINY or (low is None and number > 0)
    return near and found.scores.method != "baddbmm" and HIDES.search(str(fill.arguments[0])) is not None


def _mends(fill: Value) -> bool:
    """Whether scores are filled for what they are: `scores.masked_fill(scores.isnan(), 0)`."""
    asked = fill.arguments[0]
    return any(MENDS.fullmatch(part.method) for part in asked.within()) or any(
        part.kind == "name" and part.name == str(fill.receiver) for part in asked.within()
    )


def _adds(step: Value) -> bool:
    """Whether something but a number is added to the scores: it may hide them too."""
    added = step.name in ("+", "-") or step.method in ("add", "add_", "sub")
    return added and not any(part.kind == "constant" for part in step.arguments)


def _is_weak(value: Value) -> bool:
    """Whether a score of this number keeps a weight: anything above -5."""
    inner = negated(value)
    number = (inner or value).number
    return number is not None and (number < WEAK if inner is not None else -WEAK < number < math.inf)
