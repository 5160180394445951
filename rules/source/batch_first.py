"""ML137."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.measure import examined
from modellint.source import attending, convolved, leading, recurrent
from modellint.source.code import Event, Function, Value
from modellint.source.facts import Layer
from modellint.source.unmoved import Unmoved

RESHAPES = ("view", "reshape")
BATCH = pattern(r"([\w.]+[._])?(?<!per_)(batch(_?size)?|len\(batch\))")


class BatchFirst(SourceRule):
    """A recurrent layer or an attention is given, or read as if it gave, the batch first where time is, or the reverse.

    Why: by default the first axis is time. Given [batch, time, features] the layer runs along the batch: each sample's
        state comes from the sample before it, or attends to the other samples, and `output[:, -1]` is not the last time
        step but all steps of the last sample. It raises no error, and trains badly.
    Fix: make the layer with `batch_first=True`; with it, the last time step is `output[:, -1]`, not `output[-1]`.
    Ignore: when the batch is always one sequence.
    Reported: https://github.com/facebookresearch/fairseq/issues/2449, https://github.com/pytorch/pytorch/issues/1538,
        https://github.com/Exorust/TorchLeet/issues/5, https://github.com/IBM/TabFormer/pull/14
    """

    code, severity, certain, topic = "ML137", Severity.WARNING, True, "structure"
    twins = ("batch-mixing",)
    words = (
        "LSTM(",
        "GRU(",
        "RNN(",
        "TransformerEncoder",
        ("MultiheadAttention(", "[:, "),
        ("MultiheadAttention(", ".shape", "flatten("),
    )
    bad = (
        """
        class Spatial(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norm = nn.GroupNorm(8, width)
                self.attention = nn.MultiheadAttention(width, 4)

            def forward(self, x):
                b, c, h, w = x.shape
                y = self.norm(x).flatten(2).transpose(1, 2)
                y, _ = self.attention(y, y, y)
                return x + y.transpose(1, 2).reshape(b, c, h, w)
        """,
        """
        class Reader(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128, 2)
                self.norm, self.head = nn.LayerNorm(128), nn.Linear(128, 2)

            def forward(self, x):
                output, _ = self.lstm(x)
                output = self.norm(output)
                return self.head(output.mean(dim=1))
        """,
        """
        class Decoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.rnn = nn.Conv1d(80, 64, 5, padding=2), nn.LSTM(64, 32)
                self.head = nn.Linear(32, 4)

            def forward(self, x):
                x = F.relu(self.conv(x))
                x = x.transpose(1, 2)
                out, _ = self.rnn(x)
                return self.head(out)
        """,
        """
        class Reader(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Sequential(nn.Conv2d(1, 32, 3, stride=2), nn.ReLU(), nn.Dropout(0.1))
                self.rnn = nn.GRU(32 * 40, 64)

            def forward(self, x):
                x = self.conv(x.unsqueeze(1))
                x = torch.transpose(x, 1, 2).contiguous()
                b, t, f, c = x.size()
                x, h = self.rnn(x.view((b, t, f * c)))
                return x
        """,
        """
        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.GRU(64, 64, batch_first=True)
                self.head = nn.Linear(64, 2)

            def forward(self, x):
                out, _ = self.rnn(x)
                return self.head(out[-1])
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(1000, 64)
                self.lstm = nn.LSTM(64, 128)
                self.head = nn.Linear(128, 2)

            def forward(self, tokens):
                output, _ = self.lstm(self.embedding(tokens))
                return self.head(output[:, -1, :])
        """,
        """
        class Forecast(nn.Module):
            def __init__(self):
                super().__init__()
                self.gru = nn.GRU(input_size=1, hidden_size=32, num_layers=2)
                self.head = nn.Linear(32, 1)

            def forward(self, series):
                return self.head(self.gru(series)[0][:, -1])
        """,
        """
        class Forecast(nn.Module):
            def __init__(self, batch_size):
                super().__init__()
                self.batch_size = batch_size
                self.rnn = nn.RNN(8, 32)
                self.head = nn.Linear(32, 1)

            def forward(self, x):
                x = x.view(self.batch_size, -1, 8)
                output, hidden = self.rnn(x)
                return self.head(hidden[-1])
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(1000, 64)
                layer = nn.TransformerEncoderLayer(d_model=64, nhead=4)
                self.encoder = nn.TransformerEncoder(layer, num_layers=2)
                self.head = nn.Linear(64, 2)

            def forward(self, tokens):
                x = self.embedding(tokens) + self.position[:, : tokens.size(1)]
                x = self.encoder(x)
                return self.head(x.mean(dim=1))
        """,
        """
        class Patches(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = nn.TransformerEncoderLayer(64, 4, 256, 0.1)
                self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)
                self.token = nn.Parameter(torch.zeros(1, 1, 64))

            def forward(self, x):
                x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
                return self.head(self.norm(self.blocks(x))[:, 0])
        """,
    )
    suspected = """
    class AcrossBatch(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm, self.attention = nn.BatchNorm2d(width), nn.MultiheadAttention(width, 4)

        def forward(self, x):
            b, c, h, w = x.shape
            y = self.norm(x).flatten(2).transpose(1, 2)
            y, _ = self.attention(y, y, y)
            return x + y.transpose(1, 2).reshape(b, c, h, w)
    """
    good = (
        """
        class Clip(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.conv, self.lstm = nn.Conv2d(3, width, 3), nn.LSTM(width, width)

            def forward(self, x):  # the frames of one clip
                b, c, h, w = x.shape
                y, _ = self.lstm(self.conv(x).mean((2, 3)).view(b, 1, -1))
                return y.squeeze(1)
        """,
        """
        class Spatial(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norm = nn.GroupNorm(8, width)
                self.attention = nn.MultiheadAttention(width, 4)
                self.rows, self.last = nn.MultiheadAttention(width, 4, batch_first=True), nn.LSTM(width, width)

            def forward(self, x):
                b, c, h, w = x.shape
                y = self.norm(x).flatten(2).permute(2, 0, 1)
                y, _ = self.attention(y, y, y)
                z = y.transpose(0, 1)
                z, _ = self.rows(z, z, z)
                return self.last(z.permute(1, 0, 2))[0], y.permute(1, 2, 0).reshape(b, c, h, w)
        """,
        """
        class Reader(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128)
                self.head = nn.Linear(128, 2)

            def forward(self, x):
                output, _ = self.lstm(x.transpose(0, 1))
                first = output.mean(dim=0)
                output = output.transpose(0, 1)
                return self.head(output.mean(dim=1) + first)
        """,
        """
        class Frames(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.rnn = nn.Conv2d(3, 64, 5), nn.LSTM(64, 32)

            def forward(self, x):  # [time, batch, 3, 5, 5]
                t, b = x.shape[:2]
                x = self.conv(x.flatten(0, 1)).view(t, b, 64)
                out, _ = self.rnn(x)
                return out
        """,
        """
        class Crowd(nn.Module):  # of [time, agents, 2]
            def __init__(self):
                super().__init__()
                self.embedding, self.lstm = nn.Linear(2, 64), nn.LSTM(64, 128)

            def forward(self, x):
                x = x.view(x.size(0) // self.batch_size, self.batch_size, 2)
                out, _ = self.lstm(self.embedding(x))
                return out - out.mean(dim=1, keepdim=True)
        """,
        """
        class Columns(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.rnn = nn.Conv2d(1, 64, 5), nn.LSTM(64, 32)

            def forward(self, x):
                t = x.size(0)
                x = self.conv(x.view(-1, 1, 5, 5))
                out, _ = self.rnn(x.view(t, -1, 64))
                conv = self.conv(x).squeeze(2)
                again, _ = self.rnn(conv.permute(2, 0, 1))
                return out, again
        """,
        """
        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.GRU(64, 64, batch_first=True)
                self.head = nn.Linear(64, 2)

            def forward(self, x):
                out, hidden = self.rnn(x)
                last = out[:, -1]
                out = out.transpose(0, 1)
                return self.head(last + out[-1] + hidden[-1])
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128, batch_first=True)
                self.head = nn.Linear(128, 2)

            def forward(self, x):
                output, _ = self.lstm(x.view(x.size(0), -1, 64))
                return self.head(output[:, -1, :])
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128)
                self.head = nn.Linear(128, 2)

            def forward(self, x):
                output, _ = self.lstm(x.permute(1, 0, 2))
                output = output.permute(1, 0, 2)
                return self.head(output[:, -1])
        """,
        """
        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128)

            def forward(self, sentence):
                output, _ = self.lstm(sentence.view(len(sentence), 1, -1))
                return output[:, -1], output[-1]
        """,
        """
        class Packed(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128)

            def forward(self, x, lengths):
                packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
                output, _ = self.lstm(packed)
                output, _ = nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
                return output[:, -1]
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(1000, 64)
                self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4), num_layers=2)
                self.attention = nn.MultiheadAttention(64, 4, batch_first=True)

            def forward(self, tokens):
                x = self.embedding(tokens).transpose(0, 1)
                x = self.encoder(x).transpose(0, 1)
                return self.attention(x, x, x)[0].mean(dim=1) + x[:, 0]
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        told: set[str] = set()
        for layer, function, at in recurrent.layers(script):
            first = recurrent.is_batch_first(layer)
            if first is not None and layer.call is not None and not _is_single(layer.call):
                found = list(self._judge(script, function, at, layer, layer.call, first))
                found = found or (list(self._convolved(script, function, at, layer)) if not first else [])
                told |= {f"self.{layer.path}" for _ in found}
                yield from found

        for call, name, sure in leading.by_batch(script):
            if name not in told:
                message = f"is given the batch first, and `{name.removeprefix('self.')}` takes the time first"
                yield self.at(call, message, certain=sure)
        for read in attending.reads(script):
            message = f"takes the second axis for time, but `{read.layer.path}` is not `batch_first`: it attends along the first"
            yield self.at(read.place, message, certain=read.sure)

    def _judge(
        self, script: Script, function: Function, at: int, layer: Layer, call: Value, first: bool
    ) -> Iterator[Diagnostic]:
        events = function.events
        last = recurrent.is_last if first else recurrent.is_last_of_second
        uses = recurrent.uses(events[at:], lambda value: recurrent.is_output(value, call))
        read = next((use for use in uses if use.kind == "item" and last(use)), None)
        if read is None and not first:
            pools = recurrent.pools(events[at:], lambda value: recurrent.is_output(value, call), attending.pooled)
            pooled = next(pools, None)
            sure = Unmoved(script, function).of(call.argument(0), at) if pooled is not None else None
            if pooled is not None and sure is not None:
                message = f"is reduced over the batch, not over time: `{layer.path}` is not `batch_first`"
                yield self.at(pooled, message, certain=sure and pooled.argument(None, "keepdim") is None)
                return
        given = _given(events[:at], call) if not first else None
        if read is not None:
            how = "is `batch_first`" if first else "is not `batch_first`"
            message = f"reads the last sample of the batch, not the last time step: `{layer.path}` {how}"
            yield self.at(read, message, certain=not any(map(_is_state_of_one, script.calls)))
        elif given is not None and BATCH.fullmatch(str(given.arguments[0])):
            message = f"puts the batch first, and `{layer.path}` takes the time first"
            yield self.at(given, message, certain=not _is_one(given.arguments[1]))

    def _convolved(self, script: Script, function: Function, at: int, layer: Layer) -> Iterator[Diagnostic]:
        """What a convolution gave, whose first axis is the batch."""
        call = function.events[at].value
        model = next((model for model in script.models if layer in model.layers), None)
        given = call.arguments[0] if call is not None and call.arguments else None
        if call and given and model and convolved.is_batch_first(given, function, at, model):
            message = f"is given what a convolution gave, the batch first, and `{layer.path}` takes the time first"
            yield self.at(call, message)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        return examined.mixing(run)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Unsafe: states that are handed in or read keep their own order of axes."""
        places = {
            layer.made.location: layer.made
            for model in script.models
            for layer in model.layers
            if layer.made is not None
            and layer.name in recurrent.RECURRENT
            and f"`{layer.path}`" in finding.message
            and not recurrent.is_batch_first(layer)
        }
        made = next(iter(places.values()), None)
        named = made is not None and made.argument(None, "batch_first") is not None
        return Fix((edit.add(made, "batch_first", "True"),), safe=False) if made is not None and not named else None


def _is_single(call: Value) -> bool:
    """A batch of one sequence, written out, or a packed one."""
    given = call.arguments[0] if call.arguments else None
    parts = list(given.within()) if given is not None else []
    single = any(p.method in RESHAPES and len(p.arguments) > 1 and _is_one(p.arguments[1]) for p in parts)
    return single or any(p.method == "unsqueeze" and len(p.arguments) == 1 and _is_one(p.arguments[0]) for p in parts)


def _is_state_of_one(call: Value) -> bool:
    """A first state for batches of one: `torch.zeros(1, 1, hidden)`."""
    return call.method in ("zeros", "randn", "rand") and len(call.arguments) == 3 and _is_one(call.arguments[1])


def _is_one(value: Value) -> bool:
    return value.kind == "constant" and value.constant == 1


def _given(events: tuple[Event, ...], call: Value) -> Value | None:
    """The reshaping, if any, that directly made what the call is given."""
    given = call.arguments[0] if call.arguments else None
    if given is not None and given.kind == "name":
        bound = (e.value for e in reversed(events) if e.kind == "assign" and e.name == given.name)
        given = next(bound, None)
    reshaped = given is not None and given.kind == "call" and given.method in RESHAPES and given.receiver is not None
    return given if reshaped and given is not None and len(given.arguments) == 3 else None
