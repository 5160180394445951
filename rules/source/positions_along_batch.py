"""ML188."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import arranging, attending
from modellint.source.code import Value

KEEPS = frozenset("to detach clone type_as cuda float half requires_grad_ expand_as contiguous".split())


class PositionsAlongBatch(SourceRule):
    """Encodings of positions are added along the batch: each sample gets one for all its items, by its place in the batch.

    Why: the encoder of the PyTorch tutorial, `x + self.pe[: x.size(0)]`, is written for [time, batch, features]. With
        `batch_first=True` the first axis is the batch: all items of a sample get the same encoding, so that the attention
        knows no order, and what is added depends on which samples come together. It raises no error.
    Fix: `x + self.pe[: x.size(1)].transpose(0, 1)`, or keep the table as [1, time, features] and add `self.pe[:, : x.size(1)]`.
    Ignore: when the batch is always one sequence.
    Reported: https://github.com/songyangco/GETNext/issues/2, https://github.com/tanjimin/C.Origami/issues/42,
        https://github.com/KasperGroesLudvigsen/influenza_transformer/issues/9
    """

    code, severity, certain, topic = "ML188", Severity.ERROR, True, "structure"
    twins = ("batch-mixing",)
    words = (
        ("batch_first=True", "size(0)"),
        ("batch_first=True", "shape[0]"),
        ("def forward(", pattern(rb"\[:, *: *\w+\.(?:size\(0\)|shape\[0\])")),
    )
    suspected = (
        """
        class PositionalEncoding(nn.Module):
            def __init__(self, width, longest=5000):
                super().__init__()
                self.register_buffer("pe", table(longest, width).unsqueeze(0))

            def forward(self, x):
                return x + self.pe[:, : x.size(0), :].to(x.device)
        """,
    )
    bad = (
        """
        class PositionalEncoding(nn.Module):
            def __init__(self, width, longest=5000):
                super().__init__()
                self.dropout = nn.Dropout(0.1)
                self.register_buffer("pe", table(longest, width).unsqueeze(1))

            def forward(self, x):
                x = x + self.pe[: x.size(0), :]
                return self.dropout(x)

        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.pos_encoder = nn.Embedding(1000, 64), PositionalEncoding(64)
                layer = nn.TransformerEncoderLayer(64, 4, batch_first=True)
                self.encoder = nn.TransformerEncoder(layer, 2)

            def forward(self, tokens):
                x = self.pos_encoder(self.embedding(tokens) * 8)
                return self.encoder(x)
        """,
    )
    good = (
        """
        class PositionalEncoding(nn.Module):
            def __init__(self, width, longest=5000):
                super().__init__()
                self.register_buffer("pe", table(longest, width).unsqueeze(0))
                self.mask = torch.ones(width, longest)

            def forward(self, x, y):
                y = y + self.pe[:, : x.size(0)]
                return x + self.pe[:, : x.size(0)].transpose(0, 1) + self.pe[:, : x.size(1)]

        class Biased(nn.Module):
            def forward(self, scores):
                return scores + self.table[:, : scores.size(0), : scores.size(0)]
        """,
        """
        class PositionalEncoding(nn.Module):
            def __init__(self, width, longest=5000):
                super().__init__()
                self.register_buffer("pe", table(longest, width).unsqueeze(1))

            def forward(self, x):
                return x + self.pe[: x.size(0)]

        class Early(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.pos_encoder = nn.Embedding(1000, 64), PositionalEncoding(64)
                self.encoder = nn.TransformerEncoderLayer(64, 4, batch_first=True)

            def forward(self, tokens):
                x = self.embedding(tokens).permute(1, 0, 2)
                x = self.pos_encoder(x).permute(1, 0, 2)
                return self.encoder(x)

        class Late(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.pos_encoder = nn.Embedding(1000, 64), PositionalEncoding(64)
                self.encoder = nn.TransformerEncoderLayer(64, 4)

            def forward(self, tokens):
                return self.encoder(self.pos_encoder(self.embedding(tokens)))
        """,
        """
        class Learned(nn.Module):
            def forward(self, x):
                return x + self.pe[:, : x.size(1)]

        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.position = nn.Embedding(1000, 64), Learned()
                self.encoder = nn.TransformerEncoderLayer(64, 4, batch_first=True)

            def forward(self, tokens):
                return self.encoder(self.position(self.embedding(tokens)))[: tokens.size(0)]
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        found = {id(item): (name, item) for name, item in attending.encoded(script)}
        for name, item in found.values():
            yield self.at(item, f"adds positions along the first axis, which is the batch for `{name}`")
        for value in (value for function in script.functions for value in function.values):
            counted = _counted(value)
            if counted is not None:
                message = "takes along its second axis as many positions as the first axis of what they are added to"
                yield self.at(counted, message, certain=False)


def _counted(value: Value) -> Value | None:
    """`self.pe[:, : x.size(0)]` of `x + self.pe[:, : x.size(0)]`."""
    if value.kind != "operation" or value.name != "+" or len(value.arguments) != 2:
        return None
    for given, other in (value.arguments, value.arguments[::-1]):
        added: Value = other
        while added.kind == "call" and added.method in KEEPS and (inner := added.receiver) is not None:
            added = inner
        index = added.arguments[0].arguments if added.kind == "item" and added.arguments[0].kind == "tuple" else ()
        whole = len(index) > 1 and all(str(part) in (":", "...") for part in (index[0], *index[2:]))
        if given.kind == "name" and whole and index[1].name == ":_":
            counted = arranging.size_of(index[1].arguments[0])
            if counted is not None and str(counted[0]) == given.name and counted[1] == 0:
                return added
    return None
