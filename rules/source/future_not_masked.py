"""ML180."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import lookup, tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Layer, Loss, Model

CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss")
ATTENDS = ("TransformerEncoder", "TransformerEncoderLayer", "MultiheadAttention", "scaled_dot_product_attention")
MASKS = ("mask", "src_mask", "attn_mask", "is_causal")
# In a model whose file says so, something may hide what comes later.
HIDES = (
    "tril",
    "triu",
    "masked_fill",
    "masked_fill_",
    "generate_square_subsequent_mask",
    "causal",
    "block_mask",
    "window_size",
)


class FutureNotMasked(SourceRule):
    """A model that is to predict the next token attends to it: nothing hides the tokens that come later.

    Why: the score of position t is compared with token t + 1, which attention without a mask has already read. The loss falls
        to zero by copying, and what the model writes by itself is noise.
    Fix: `scaled_dot_product_attention(..., is_causal=True)`, or give the encoder a causal mask
        (`nn.Transformer.generate_square_subsequent_mask(length)`).
    Ignore: when the tokens to predict are hidden in the input.
    Reported: https://github.com/pytorch/tutorials/issues/2478,
        https://github.com/alex-matton/causal-transformer-decoder/issues/1
    """

    code, severity, certain, topic = "ML180", Severity.ERROR, True, "sequences"
    twins = ("missing-causal-mask",)
    words = tuple(
        (word, ":-1]", ".backward(") for word in ("TransformerEncoder", "MultiheadAttention", "scaled_dot_product")
    )
    bad = (
        """
        class Lm(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.head = nn.Embedding(1000, 64), nn.Linear(64, 1000)
                self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, batch_first=True), 2)

            def forward(self, tokens):
                return self.head(self.body(self.embedding(tokens)))

        lm = Lm()
        optimizer = torch.optim.AdamW(lm.parameters())
        for tokens in loader:
            inputs, targets = tokens[:, :-1], tokens[:, 1:]
            loss = F.cross_entropy(lm(inputs).reshape(-1, 1000), targets.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Gpt(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.qkv, self.head = nn.Embedding(500, 64), nn.Linear(64, 192), nn.Linear(64, 500)

            def forward(self, x):
                q, k, v = self.qkv(self.embedding(x)).chunk(3, -1)
                return self.head(F.scaled_dot_product_attention(q, k, v))

        gpt = Gpt()
        optimizer = torch.optim.AdamW(gpt.parameters())
        for ids in loader:
            logits = gpt(ids[:, :-1])
            optimizer.zero_grad()
            F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
            optimizer.step()
        """,
    )
    good = (
        """
        class Lm(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.head = nn.Embedding(1000, 64), nn.Linear(64, 1000)
                self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, batch_first=True), 2)

            def forward(self, tokens):
                mask = nn.Transformer.generate_square_subsequent_mask(tokens.size(1))
                return self.head(self.body(self.embedding(tokens), mask=mask, is_causal=True))

        lm = Lm()
        optimizer = torch.optim.AdamW(lm.parameters())
        for tokens in loader:
            loss = F.cross_entropy(lm(tokens[:, :-1]).reshape(-1, 1000), tokens[:, 1:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.head = nn.Embedding(1000, 64), nn.Linear(64, 5)
                self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, batch_first=True), 2)

            def forward(self, tokens):
                return self.head(self.body(self.embedding(tokens)).mean(1))

        net = Encoder()
        optimizer = torch.optim.AdamW(net.parameters())
        for row in loader:
            loss = F.cross_entropy(net(row[:, :-1]), row[:, -1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in script.losses:
            function = lookup.function(script, loss.location)
            called = _next(function, loss) if function is not None and loss.kind in CLASS_LOSSES else None
            model = lookup.trained(script, loss, called) if called is not None else None
            seen = _unmasked(script, model) if model is not None else None
            if model is not None and seen is not None and seen.call is not None:
                yield self.at(
                    seen.call, f"lets `{model.name}` see the token that line {loss.location.line} asks it to predict"
                )


def _next(function: Function, loss: Loss) -> Value | None:
    """The call of a model with all tokens but the last, if its scores are compared with all tokens but the first."""
    at, given, target = (
        tensors.place(function, loss.call),
        loss.call.argument(0, "input"),
        loss.call.argument(1, "target"),
    )
    if at is None or given is None or target is None:
        return None
    wanted = tensors.shifted(tensors.made(function, target, at), 1)
    call = tensors.made(function, given, at)
    start = tensors.place(function, call) if call.kind == "call" and call.arguments else None
    shown = tensors.shifted(tensors.made(function, call.arguments[0], start), -1) if start is not None else None
    return call if wanted is not None and shown is not None and str(wanted) == str(shown) else None


def _unmasked(script: Script, model: Model) -> Layer | None:
    """The first attention of the model, if none is told what to hide and its file has no other means for that."""
    own = any(function.name == f"{model.name}.forward" for function in script.functions)
    if not own or not script.attributes.isdisjoint(HIDES) or any(not layer.name for layer in model.layers):
        return None
    attending = [layer for layer in model.layers if layer.short in ATTENDS]
    return attending[0] if attending and not any(map(_is_told, attending)) else None


def _is_told(layer: Layer) -> bool:
    call = layer.call
    if call is None or call.unpacks:
        return True
    few = {"TransformerEncoder": 1, "TransformerEncoderLayer": 1}.get(layer.short, 3)
    return len(call.arguments) > few or any(call.argument(None, name) is not None for name in MASKS)
