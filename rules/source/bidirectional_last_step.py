"""ML185."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import recurrent
from modellint.source.code import Event, Value
from modellint.source.facts import Layer

BATCH = pattern(r"(?i)(^|[._])(batch(_?size)?|bsz?|b)$|size\(\d\)$|shape\[\d\]$|^len\(\w+\)$")

TURNS = frozenset({"transpose_", "swapaxes_", "swapdims_", "t_"})


class BidirectionalLastStep(SourceRule):
    """The last time step of a bidirectional recurrent layer stands for a sequence, or its states are reshaped across the batch.

    Why: `output[:, -1]` holds the forward state after the whole sequence, and the backward state after its first step, which
        is the last one of the sequence: half of the features know one token, and the weights of that direction learn little.
        `hidden[-1]` of such a layer is the backward state alone, and the forward direction is computed for nothing.
        `hidden` is [layers * directions, batch, features]: `hidden.view(batch, -1)` gives each sample the states of others.
    Fix: `torch.cat([hidden[-2], hidden[-1]], dim=1)`, or the mean or maximum of the output over time.
    Ignore: when only the last step is to be told of, in the light of those before it.
    Reported: https://github.com/yunjey/pytorch-tutorial/issues/149, https://github.com/pytorch/pytorch/issues/3587
    """

    code, severity, certain, topic = "ML185", Severity.WARNING, True, "structure"
    words = ("LSTM(", "GRU(", "RNN(")
    calls = ("LSTM", "GRU", "RNN")
    bad = (
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128, batch_first=True, bidirectional=True)
                self.dropout, self.head = nn.Dropout(0.1), nn.Linear(256, 2)

            def forward(self, x):
                output, _ = self.lstm(x)
                output = self.dropout(output)
                return self.head(output[:, -1, :])
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.GRU(64, 128, 2, True, False, 0.1, True)
                self.head = nn.Linear(256, 2)

            def forward(self, x):
                return self.head(self.rnn(x)[0][-1])
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128, bidirectional=True)
                self.head = nn.Linear(128, 2)

            def forward(self, x):
                _, (hidden, _) = self.lstm(x)
                return self.head(hidden[-1])
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128, num_layers=2)
                self.head = nn.Linear(256, 2)

            def forward(self, x):
                _, (hidden, _) = self.lstm(x)
                hidden = hidden.view(x.size(1), -1)
                return self.head(hidden)
        """,
    )
    good = (
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(64, 128, batch_first=True, bidirectional=True)
                self.one_way = nn.LSTM(256, 128, batch_first=True)
                self.head = nn.Linear(256 + 128, 2)

            def forward(self, x):
                output, (hidden, _) = self.lstm(x)
                both = torch.cat((output[:, -1, :128], output[:, 0, 128:]), dim=1)
                again, _ = self.one_way(output)
                return self.head(torch.cat((both + torch.cat((hidden[-2], hidden[-1]), dim=1), again[:, -1]), dim=1))
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.gru = nn.GRU(64, 128, batch_first=True, bidirectional=True)
                self.head = nn.Linear(512, 2)

            def forward(self, x):
                output, hidden = self.gru(x)
                return self.head(torch.cat([output[:, 0], output[:, -1]], dim=-1)), output[:, -1]
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.gru = nn.GRU(64, 128, bidirectional=True)
                self.head = nn.Linear(128, 2)

            def forward(self, x):
                output, hidden = self.gru(x)
                hidden = hidden.view(2, 2, -1, 128)
                return self.head(hidden[-1].sum(0))
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.gru = nn.GRU(64, 128, 2, bidirectional=True)
                self.one = nn.GRU(64, 128)
                self.head = nn.Linear(128, 2)

            def forward(self, x):
                hidden = self.gru(x)[1].transpose(0, 1)
                both = hidden.reshape(x.size(1), -1)
                layers = self.gru(x)[1].view(2, -1)
                _, last = self.one(x)
                return self.head(last.view(x.size(1), -1)), both, layers
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for layer, function, at in recurrent.layers(script):
            if recurrent.is_bidirectional(layer) or _is_deep(layer):
                for call in recurrent.pools(function.events[at:], partial(_is_state, layer=layer), _flattened):
                    message = f"gives each sample the states of others: the first axis of the state of `{layer.path}` is no batch"
                    turned = any(other.method in TURNS for other in function.calls)
                    yield self.at(call, message, certain=not turned)
            if recurrent.is_bidirectional(layer) and layer.call is not None and layer.made is not None:
                if layer.made.location.path != script.path:  # handed in from outside: it may be of one direction too
                    continue
                yield from self._judge(function.events[at:], layer, layer.call)

    def _judge(self, events: tuple[Event, ...], layer: Layer, call: Value) -> Iterator[Diagnostic]:
        outputs = list(recurrent.uses(events, lambda value: recurrent.is_output(value, call)))
        last = recurrent.is_last_of_second if recurrent.is_batch_first(layer) else recurrent.is_last
        steps = [use for use in outputs if use.kind == "item" and last(use) and _is_whole(use)]
        other = [use for use in outputs if use not in steps]
        if steps and not any(use.kind == "item" for use in other):
            message = f"takes the last step of `{layer.path}`, of which its backward direction has read nothing before"
            yield self.at(steps[0], message, certain=not other)
        if not outputs:
            states = list(recurrent.uses(events, lambda value: _is_state(value, layer)))
            if states and all(use.kind == "item" and recurrent.is_last(use) for use in states):
                yield self.at(
                    states[0], f"takes the backward direction of `{layer.path}` alone: the forward one is lost"
                )


def _is_whole(step: Value) -> bool:
    """Whether it takes the features of both directions."""
    index = step.arguments[0]
    parts = index.arguments if index.kind == "tuple" else (index,)
    return all(part.kind == "constant" or not part.arguments for part in parts)


def _is_deep(layer: Layer) -> bool:
    given = layer.made.argument(2, "num_layers") if layer.made is not None else None
    return given is not None and isinstance(given.constant, int) and given.constant > 1


def _flattened(call: Value) -> Value | None:
    """What a call gives the shape [batch, -1]."""
    if call.method not in ("view", "reshape") or len(call.arguments) != 2:
        return None
    batch, rest = call.arguments
    own = (f"{call.receiver}.size(0)", f"{call.receiver}.shape[0]")
    return call.receiver if rest.constant == -1 and BATCH.search(str(batch)) and str(batch) not in own else None


def _is_state(value: Value, layer: Layer) -> bool:
    """The hidden state that the layer gives back beside its output; of an LSTM the first one of two."""
    pair = value.base if layer.short == "LSTM" and recurrent.is_part(value, 0) else value
    alone = pair is not value or layer.short != "LSTM"
    return alone and pair is not None and recurrent.is_part(pair, 1) and pair.base is layer.call
