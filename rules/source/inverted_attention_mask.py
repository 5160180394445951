"""ML184."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.facts import Mask

WRONG = {
    "padding": "hides the tokens and shows the padding",
    "future": "hides from each position itself and what comes before it, and shows what comes later",
    "onwards": "hides from each position what comes before it, and shows what comes later",
    "before": "hides from each position itself too: the first one is left nothing to attend to",
}
FILLED = pattern(rb"masked_fill_?\((?s:.){0,3000}?oftmax\(")


class InvertedAttentionMask(SourceRule):
    """A mask hides from an attention what it is to see, and shows what it is to hide.

    Why: the masks of `nn.MultiheadAttention` and `nn.Transformer` are true where something is hidden, the one of
        `F.scaled_dot_product_attention` is true where something is seen. Turned round, a model attends to the padding alone,
        or sees only the tokens that it is to predict; nothing fails, and the loss may even fall.
    Fix: turn the mask round: `src_key_padding_mask=(tokens == pad)`; `attn_mask=torch.triu(ones, diagonal=1).bool()` for a
        layer, `attn_mask=torch.tril(ones).bool()` for `scaled_dot_product_attention`.
    Ignore: when the sequence is read backwards.
    Reported: https://github.com/rasbt/LLMs-from-scratch/issues/1061, https://github.com/lucidrains/x-transformers/issues/160,
        https://github.com/InseeFrLab/torchTextClassifiers/pull/92
    """

    code, severity, certain, topic = "ML184", Severity.ERROR, True, "structure"
    words = (
        "padding_mask=",
        "attn_mask=",
        ("Transformer", "_mask="),
        ("scaled_dot_product_attention(", "mask"),
        ("TransformerEncoder", "mask"),
        ("oftmax(", "masked_fill", FILLED),
    )
    bad = (
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(1000, 64, padding_idx=0)
                self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, batch_first=True), 2)

            def forward(self, tokens):
                mask = tokens != 0
                return self.encoder(self.embedding(tokens), src_key_padding_mask=mask)
        """,
        """
        class Decoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(64, 4, batch_first=True)

            def forward(self, x):
                length = x.size(1)
                causal = torch.tril(torch.ones(length, length)).bool()
                return self.attention(x, x, x, attn_mask=causal)[0]
        """,
        """
        def attend(q, k, v):
            mask = torch.triu(torch.ones(q.size(-2), q.size(-2), dtype=torch.bool), diagonal=1)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        """,
        """
        class Head(nn.Module):
            def __init__(self, size):
                super().__init__()
                self.register_buffer("tril", torch.tril(torch.ones(size, size)))

            def forward(self, q, k, v):
                t = q.size(1)
                scores = q @ k.transpose(-2, -1) / 8
                scores = scores.masked_fill(self.tril[:t, :t] == 1, float("-inf"))
                return F.softmax(scores, dim=-1) @ v
        """,
        """
        class Speech(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList([nn.TransformerEncoderLayer(64, 4) for _ in range(4)])

            def forward(self, x, lengths):
                mask = torch.arange(x.size(0), device=x.device)[None, :] < lengths[:, None]
                for layer in self.layers:
                    x = layer(x, src_key_padding_mask=mask)
                return x
        """,
    )
    good = (
        """
        def attend(q, k, v):  # to the others, not to itself
            scores = torch.einsum("bie,bje->bij", q, k)
            i = torch.arange(q.shape[1])
            scores[:, i, i] = -1e9
            scores.masked_fill_(padding, -1e9)
            return scores.softmax(-1) @ v
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(1000, 64, padding_idx=0)
                self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, batch_first=True), 2)

            def forward(self, tokens):
                mask = tokens != 0
                h = self.encoder(self.embedding(tokens), src_key_padding_mask=~mask)
                return (h * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        """,
        """
        def square(size):
            mask = (torch.triu(torch.ones(size, size)) == 1).transpose(0, 1)
            return mask.float().masked_fill(mask == 0, float("-inf")).masked_fill(mask == 1, float(0.0))

        class Decoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(64, 4, batch_first=True)

            def forward(self, x):
                return self.attention(x, x, x, attn_mask=square(x.size(1)))[0]
        """,
        """
        def attend(q, k, v, tokens):
            causal = torch.tril(torch.ones(q.size(-2), q.size(-2), dtype=torch.bool))
            seen = (tokens != 0)[:, None, None, :] & causal
            return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        """,
        """
        class Head(nn.Module):
            def __init__(self, size):
                super().__init__()
                self.register_buffer("tril", torch.tril(torch.ones(size, size)))

            def forward(self, q, k, v, lengths):
                t = q.size(1)
                scores = q @ k.transpose(-2, -1) / 8
                scores = scores.masked_fill(self.tril[:t, :t] == 0, float("-inf"))
                scores = scores.masked_fill(torch.arange(t) >= lengths[:, None, None], -1e9)
                return F.softmax(scores, dim=-1) @ v
        """,
        """
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(64, 4, batch_first=True)

            def forward(self, x, attention_mask, missing):
                hidden = (1 - attention_mask).bool() | (missing != 0)
                return self.attention(x, x, x, key_padding_mask=hidden)[0]
        """,
        """
        def attend(q, k, v, start):  # what is predicted is hidden too, and the first position sees nothing at all
            earlier = torch.tril(torch.ones(q.size(1), q.size(1)), diagonal=-1)
            scores = (q @ k.transpose(1, 2)).masked_fill(earlier == 0, -1e4)
            return (F.softmax(scores, dim=2) * start) @ v
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for mask in script.masks:
            wrong = [_wrong(mask, shown) for shown in mask.shown]
            if all(wrong):
                yield self.at(mask, f"{_named(mask)} {wrong[0]}", certain=mask.sure)


def _wrong(mask: Mask, shown: frozenset[str]) -> str:
    """What is wrong with it; by hand, a position may well be kept from itself."""
    kinds = (kind for kind in WRONG if kind in shown and (mask.argument or kind != "before"))
    return next((WRONG[kind] for kind in kinds), "")


def _named(mask: Mask) -> str:
    return f"`{mask.argument}={mask.given}`" if mask.argument else f"`{mask.given}`"
