"""ML143."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.attention import MASKS, Attention, attentions
from modellint.source.code import Function, Value
from modellint.source.sums import negated

MASK = pattern(r"(?i)(.*[._])?(\w*mask|\w*tril\w*|\w*causal\w*|padding|bias)(\[.*)?")
OTHER = pattern(r"(?i).*(head|drop|query|layer).*")  # they switch off whole rows, heads or single weights
DIVIDES = frozenset({"/", "div", "div_", "normalize"})
LOWEST = -1e3


class MaskAfterSoftmax(SourceRule):
    """The weights of an attention are masked after the softmax, which has already counted what the mask hides.

    Why: the weights that are left add up to less than one, by as much as the hidden positions took: padding changes the
        result, and in a causal model the sum tells of later tokens. With `-inf`, which belongs before the softmax, the
        product with the values is infinite or not a number.
    Fix: `scores.masked_fill(mask == 0, float("-inf"))`, then the softmax.
    Ignore: when the weights are divided by their sum in a function that is called later.
    Reported: https://github.com/huggingface/pytorch-image-models/pull/2236,
        https://github.com/lucidrains/memory-compressed-attention/issues/2
    """

    code, severity, certain, topic = "ML143", Severity.ERROR, True, "structure"
    twins = ("missing-causal-mask",)
    calls = ("softmax", "Softmax")
    words = tuple(
        ("oftmax(", word, pattern(rb"oftmax\((?:.|\n){0,300}?(?:masked_fill|where\(|\* *\w*\.?\w*(?:mask|tril|causal)|\.mul_?\()"))
        for word in ("mask", "tril", "causal")
    )  # fmt: skip
    bad = (
        """
        class Head(nn.Module):
            def forward(self, x):
                q, k, v = self.qkv(x).chunk(3, -1)
                weights = F.softmax(q @ k.transpose(-2, -1) / 8, dim=-1)
                weights = weights.masked_fill(self.tril[: x.size(1), : x.size(1)] == 0, 0.0)
                return self.dropout(weights) @ v
        """,
        """
        def attention(query, key, value, mask=None, dropout=None):
            scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(query.size(-1))
            p_attn = scores.softmax(dim=-1)
            if mask is not None:
                p_attn = p_attn.masked_fill(mask == 0, -1e9)
            if dropout is not None:
                p_attn = dropout(p_attn)
            return torch.matmul(p_attn, value), p_attn
        """,
        """
        def attend(values, keys, query, mask):
            energy = torch.einsum("nqhd,nkhd->nhqk", [query, keys])
            attention = torch.softmax(energy / 8, dim=3)
            if mask is not None:
                attention = attention.masked_fill(mask == 0, float("-1e20"))
            return torch.einsum("nhql,nlhd->nqhd", [attention, values])
        """,
        """
        def attend(q, k, v):
            weights = torch.einsum("bhid,bhjd->bhij", q, k).softmax(-1)
            causal = torch.tril(torch.ones(q.size(2), q.size(2)))
            return torch.einsum("bhij,bhjd->bhid", weights * causal, v)
        """,
    )
    good = (
        """
        def attend(q, k, v, mask):  # rows in which everything is hidden are set to zero afterwards
            scores = q @ k.transpose(-2, -1) / 8
            min_value = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(mask, min_value)
            weights = torch.softmax(scores, dim=-1).masked_fill(mask, 0.0)
            return weights @ v
        """,
        """
        def attend(q, k, v, mask):
            weights = torch.softmax(q @ k.transpose(-2, -1), dim=-1) * mask
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-9)
            return weights @ v
        """,
        """
        def attend(q, k, v, mask, head_mask):
            scores = torch.bmm(q, k.transpose(1, 2))
            scores.masked_fill_(~mask, float("-inf"))
            return torch.bmm(F.softmax(scores, dim=-1) * head_mask, v)
        """,
        """
        def attend(q, k, v, mask, head_mask):
            scores = torch.matmul(q, k.transpose(-1, -2)) + mask
            weights = nn.functional.softmax(scores, dim=-1)
            weights = weights * head_mask
            return torch.matmul(weights, v)
        """,
        """
        def gate(x, experts, chosen):
            weights = F.softmax(self.router(x), dim=-1).masked_fill(~chosen, 0.0)
            return weights @ experts
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for found in attentions(script, function):
                if not any(step.name in DIVIDES or step.method in DIVIDES for step in found.after):
                    yield from self._judge(function, found)

    def _judge(self, function: Function, found: Attention) -> Iterator[Diagnostic]:
        for step in found.after:
            filled = _filled(step)
            if filled is not None and _is_low(filled):
                yield self.at(step, f"sets weights to `{filled}` that the softmax has already made")
            elif not any(map(_may_mask, found.before)):
                if filled is not None and filled.constant == 0:
                    yield self.at(step, "hides weights that the softmax has already counted")
                elif (mask := _multiplied(step)) is not None:
                    message = f"hides weights by `{mask}` that the softmax has already counted"
                    yield self.at(step, message, certain=_is_causal(function, mask))


def _filled(step: Value) -> Value | None:
    """What a mask puts into the weights."""
    if step.kind != "call" or step.method not in MASKS:
        return None
    if step.method == "where":
        return next((part for part in step.arguments[1:] if part.kind == "constant" or _is_low(part)), None)
    return step.arguments[-1] if step.arguments else step.argument(None, "value")


def _is_low(value: Value) -> bool:
    """A number by which a mask hides scores."""
    if (inner := negated(value)) is not None:
        return inner.method == "inf" or _number(inner) == math.inf
    return _number(value) < LOWEST or value.method == "min" or value.name == "min"


def _number(value: Value) -> float:
    """Of `-1e9`, `float("-inf")`; else 0."""
    given = value.arguments[0] if value.name == "float" and len(value.arguments) == 1 else value
    try:
        return float(given.constant or 0)
    except ValueError:
        return 0.0


def _may_mask(step: Value) -> bool:
    """Whether the scores may be masked: by a fill, or by a sum with anything but a number."""
    added = step.name in ("+", "-") or step.method in ("add", "add_", "sub")
    return step.method in MASKS or (added and not any(part.kind == "constant" for part in step.arguments))


def _multiplied(step: Value) -> Value | None:
    """The mask that weights are multiplied with."""
    factors = step.arguments if step.name == "*" or step.method in ("mul", "mul_") else ()
    named = (part for part in factors if part.kind in ("name", "item", "call"))
    return next((part for part in named if MASK.fullmatch(str(part)) and not OTHER.fullmatch(str(part))), None)


def _is_causal(function: Function, mask: Value) -> bool:
    made = (part for value in tensors.bounds(function, mask.name) for part in value.within())
    built = any(part.method in ("tril", "triu") for part in made)
    return built or "tril" in str(mask) or "causal" in str(mask)
