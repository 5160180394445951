"""ML166."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup, tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Layer, Loss, Model
from modellint.source.pretrained import causal

TARGETS = pattern(r"y|yb|targets?|labels?|y_batch|tgt")
NAMES = ("y", "yb", "target", "targets", "label", "labels", "y_batch", "tgt")
SLICED = pattern(rb"\n[ \t]+(?:y|yb|targets?|labels?|y_batch|tgt) = [^\n]*\[\w+ ?: ?\w+ ?\+ ?\w+\]")
MASKS = frozenset({"generate_square_subsequent_mask", "triu", "tril"})
MASKING = frozenset({"masked_fill", "masked_fill_"})
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
# What may shift the sequence inside the model.
SHIFTS = frozenset({"cat", "concat", "pad", "roll", "narrow", "flip", "hstack"})
CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss")


class UnshiftedTargets(SourceRule):
    """A causal language model is trained to predict the very token that it is given, not the next one.

    Why: position t has seen token t. Where that is the target too, copying it is enough: the loss falls to zero within a few
        steps, and what the model writes repeats itself.
    Fix: compare the scores of all positions but the last with all tokens but the first: `logits[:, :-1]`, `tokens[:, 1:]`.
    Ignore: when the data set shifts one of them, or the model is meant to copy.
    Reported: https://github.com/huggingface/transformers/pull/404, https://github.com/songlab-cal/tape/issues/32
    """

    code, severity, certain, topic = "ML166", Severity.ERROR, True, "sequences"
    twins = ("labels-are-inputs",)
    words = (
        *(
            (word, ".backward(", "Embedding(")
            for word in ("is_causal", "subsequent_mask", "triu", "tril", "LSTM(", "GRU(", "RNN(")
        ),
        *((name, "_entropy", "logits") for name in ("ForCausalLM", "LMHead")),
        (".backward(", pattern(rb"\w\((\w+), *(?:\w+=)?\1\)")),
        *((f"{blank}{name} = ", SLICED) for blank in " \t" for name in NAMES),
    )
    bad = (
        """
        def get_batch(data, length, size):
            starts = torch.randint(len(data) - length, (size,))
            x = torch.stack([data[i : i + length] for i in starts])
            y = torch.stack([data[i : i + length] for i in starts])
            return x.to(device), y.to(device)
        """,
        """
        class Decoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.head = nn.Embedding(1000, 64), nn.Linear(64, 1000)
                self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, batch_first=True), 2)

            def forward(self, tokens):
                mask = nn.Transformer.generate_square_subsequent_mask(tokens.size(1))
                return self.head(self.body(self.embedding(tokens), mask=mask))

        decoder = Decoder()
        optimizer = torch.optim.AdamW(decoder.parameters())
        for tokens in loader:
            logits = decoder(tokens)
            loss = F.cross_entropy(logits.view(-1, 1000), tokens.view(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class CharRnn(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.head = nn.Embedding(100, 64), nn.Linear(64, 100)
                self.rnn = nn.LSTM(64, 64, batch_first=True)

            def forward(self, x, state=None):
                out, state = self.rnn(self.embedding(x), state)
                return self.head(out), state

        def train(net, batches):
            optimizer, criterion = torch.optim.Adam(net.parameters()), nn.CrossEntropyLoss()
            for x in batches:
                scores, _ = net(x)
                loss = criterion(scores.transpose(1, 2), x)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()

        train(CharRnn(), data)
        """,
        """
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained("gpt2")
        for ids in loader:
            logits = model(ids).logits
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), ids.view(-1))
            loss.backward()
        """,
        """
        class Gpt(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.qkv, self.head = nn.Embedding(500, 64), nn.Linear(64, 192), nn.Linear(64, 500)

            def forward(self, idx, targets=None):
                q, k, v = self.qkv(self.embedding(idx)).chunk(3, -1)
                logits = self.head(F.scaled_dot_product_attention(q, k, v, is_causal=True))
                if targets is None:
                    return logits, None
                loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
                return logits, loss

        gpt = Gpt()
        optimizer = torch.optim.AdamW(gpt.parameters())
        for tokens in loader:
            _, loss = gpt(tokens, tokens)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )
    good = (
        """
        def get_batch(data, length, size):
            starts = torch.randint(len(data) - length - 1, (size,))
            x = torch.stack([data[i : i + length] for i in starts])
            y = torch.stack([data[i + 1 : i + 1 + length] for i in starts])
            return x.to(device), y.to(device)

        def pieces(images, labels, i, n):
            x, y = images[i : i + n], labels[i : i + n]
            return x, y
        """,
        """
        class Decoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.head = nn.Embedding(1000, 64), nn.Linear(64, 1000)
                self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, batch_first=True), 2)

            def forward(self, tokens):
                mask = nn.Transformer.generate_square_subsequent_mask(tokens.size(1))
                return self.head(self.body(self.embedding(tokens), mask=mask))

        decoder = Decoder()
        optimizer = torch.optim.AdamW(decoder.parameters())
        for tokens in loader:
            logits = decoder(tokens)[:, :-1]
            loss = F.cross_entropy(logits.reshape(-1, 1000), tokens[:, 1:].reshape(-1))
            tokens, targets = tokens[:, :-1], tokens[:, 1:]
            loss = loss + F.cross_entropy(decoder(tokens).view(-1, 1000), targets.view(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Shifting(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.head = nn.Embedding(1000, 64), nn.Linear(64, 1000)
                self.rnn = nn.GRU(64, 64, batch_first=True)

            def forward(self, tokens):
                start = torch.zeros_like(tokens[:, :1])
                return self.head(self.rnn(self.embedding(torch.cat([start, tokens[:, :-1]], dim=1)))[0])

        net = Shifting()
        optimizer = torch.optim.AdamW(net.parameters())
        for tokens in loader:
            loss = F.cross_entropy(net(tokens).view(-1, 1000), tokens.view(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        """,
        """
        class Masked(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.head = nn.Embedding(1000, 64), nn.Linear(64, 1000)
                self.body = nn.LSTM(64, 32, batch_first=True, bidirectional=True)

            def forward(self, tokens):
                return self.head(self.body(self.embedding(tokens))[0])

        net = Masked()
        optimizer = torch.optim.AdamW(net.parameters())
        for tokens in loader:
            noisy = torch.where(torch.rand_like(tokens.float()) < 0.15, 3, tokens)
            loss = F.cross_entropy(net(noisy).view(-1, 1000), tokens.view(-1))
            tokens = net(tokens).argmax(-1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        """,
        """
        class Gpt(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.qkv, self.head = nn.Embedding(500, 64), nn.Linear(64, 192), nn.Linear(64, 500)

            def forward(self, idx, labels):
                q, k, v = self.qkv(self.embedding(idx)).chunk(3, -1)
                logits = self.head(F.scaled_dot_product_attention(q, k, v, is_causal=True))
                logits, labels = logits[:, :-1].contiguous(), labels[:, 1:].contiguous()
                return F.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1))

        gpt = Gpt()
        optimizer = torch.optim.AdamW(gpt.parameters())
        for tokens in loader:
            loss = gpt(tokens, tokens)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        pretrained = causal(script) if script.losses else set()
        for loss in script.losses:
            function = lookup.function(script, loss.location)
            if loss.kind in CLASS_LOSSES and loss.certain and function is not None:
                call = _copied(function, loss)
                if call is not None and (call.name in pretrained or _is_causal(script, loss, call)):
                    target = tensors.bare(loss.call.arguments[1])
                    yield self.at(
                        loss, f"compares the scores for `{target}` with `{target}` itself, not with the next tokens"
                    )
        yield from self._inside(script)
        for function in script.functions:
            yield from self._sliced(function)

    def _sliced(self, function: Function) -> Iterator[Diagnostic]:
        """Inputs and targets that are the same slice of the same tokens."""
        bindings = [e for e in reversed(function.events) if e.kind == "assign" and e.value is not None]
        made = {e.name: tensors.bare(e.value) for e in bindings if e.value is not None}  # the first of each name
        targets = {name: value for name, value in made.items() if TARGETS.fullmatch(name) and _is_window(value)}
        for name, value in targets.items():
            for other, source in made.items():
                if other not in targets and str(source) == str(value) and source is not value:
                    message = f"takes for `{name}` the very tokens that `{other}` is, not those that come next"
                    yield self.at(value, message, certain=False)
        for event in function.events:
            pair = (
                event.value.arguments if event.kind == "return" and event.value and event.value.kind == "tuple" else ()
            )
            if len(pair) == 2 and len({str(tensors.bare(side)) for side in pair}) == 1 and _is_window(pair[0]):
                message = "gives the same tokens twice, where the second ones should be those that come next"
                yield self.at(pair[1], message, certain=False)

    def _inside(self, script: Script) -> Iterator[Diagnostic]:
        """A loss that a model computes by itself, of what it is given twice: `model(x, x)`."""
        for loop in script.training_loops:
            minimised = {id(part.value) for act in loop.of("backward") for part in act.summands}
            for loss in (o for o in script.objectives if o.kind in CLASS_LOSSES and id(o.call) in minimised):
                for act in loop.of("model") if loss.given is not None else ():
                    twice = _given_twice(act.call, *loss.given) if loss.given is not None else ""
                    model = lookup.stepped(script, loop) if twice else None
                    if model is not None and _computes(script, model, loss):
                        yield self.at(
                            act, f"gives `{model.name}` `{twice}` as tokens and as targets, and it shifts neither"
                        )


def _is_window(value: Value) -> bool:
    """Whether it is taken by a slice from somewhere to somewhere: `data[i : i + length]`."""
    slices = (part for part in value.within() if part.kind == "item" and part.arguments)
    return any(len(part.arguments[0].arguments) == 2 and part.arguments[0].kind == "unknown" for part in slices)


def _computes(script: Script, model: Model, loss: Loss) -> bool:
    """Whether the loss lies in the file of the model, which sees no later tokens."""
    return model.location.path == loss.location.path and _sees_no_later(script, model)


def _copied(function: Function, loss: Loss) -> Value | None:
    """The call of a model with a name that is the target too, if its scores are the loss's input, as they are."""
    at, given, target = (
        tensors.place(function, loss.call),
        loss.call.argument(0, "input"),
        loss.call.argument(1, "target"),
    )
    name = tensors.bare(target) if target is not None else None
    other = tensors.made(function, name, at) if name is not None else None
    name = other if other is not None and other.kind == "name" else name  # `gold = tokens`
    if at is None or given is None or name is None or name.kind != "name":
        return None
    call = _scores(function, given, at)
    start = tensors.place(function, call) if call is not None else None
    if call is None or start is None or not any(a.kind == "name" and a.name == name.name for a in _given(call)):
        return None
    return call if all(event.name != name.name for event in function.events[start:at]) else None


def _scores(function: Function, given: Value, at: int) -> Value | None:
    """The call of which the scores are the result, its first item or its `logits`."""
    value = tensors.made(function, given, at)
    if value.kind == "name" and value.method == "logits" and value.receiver is not None:
        value = tensors.made(function, value.receiver, at)
    elif value.base is not None and (value.name == "logits" or _is_first(value)):
        value = value.base
    return value if value.kind == "call" and value.base is None else None


def _is_first(value: Value) -> bool:
    return value.kind == "item" and value.arguments[0].constant == 0


def _given(call: Value) -> Iterator[Value]:
    yield from (*call.arguments, *(value for name, value in call.keywords if name in ("input_ids", "x", "tokens")))


def _is_causal(script: Script, loss: Loss, call: Value) -> bool:
    """Whether the one model of the loop's optimizer is called, and sees no later tokens."""
    model = lookup.trained(script, loss, call)
    return model is not None and _looks_back(script, model)


def _given_twice(call: Value, place: int, name: str) -> str:
    """The name that a call gives as the parameter, and as another one besides."""
    given = call.argument(place, name)
    target = tensors.bare(given).name if given is not None and call.base is None else ""
    others = (value for value in (*call.arguments, *dict(call.keywords).values()) if value is not given)
    return target if target and any(tensors.bare(other).name == target for other in others) else ""


def _looks_back(script: Script, model: Model) -> bool:
    forward = next((f for f in script.functions if f.name == f"{model.name}.forward"), None)
    if forward is None or tensors.shifts(forward) or any("shift" in call.method for call in forward.calls):
        return False
    return not any(map(_is_state, forward.values)) and _sees_no_later(script, model)


def _is_state(value: Value) -> bool:
    """A part of the second result of a recurrent layer, which has read all of the text: `self.gru(x)[1][-1]`."""
    state = value.base if value.kind == "item" else None
    return state is not None and state.kind == "item" and state.arguments[0].constant == 1


def _sees_no_later(script: Script, model: Model) -> bool:
    if any(layer.short in SHIFTS for layer in model.layers):
        return False
    return _masked(script, model) or _recurs(model.layers)


def _masked(script: Script, model: Model) -> bool:
    layers, elsewhere = model.layers, model.location.path != script.path
    calls = [layer.call for layer in layers if layer.call is not None]
    told = any((given := call.argument(None, "is_causal")) is not None and given.constant is True for call in calls)
    built = any(layer.short in MASKS for layer in layers)
    kept = any(layer.short in MASKING for layer in layers)
    kept = kept and (elsewhere or any(call.method in MASKS for call in script.calls))
    return told or built or kept


def _recurs(layers: Sequence[Layer]) -> bool:
    """Whether the sequence goes through one recurrent layer, in one direction, and is not met elsewhere."""
    recurrent = [layer.made for layer in layers if layer.short in RECURRENT]
    others = any(
        layer.short.startswith(("Transformer", "Conv", "Multihead", "LSTMCell")) or not layer.name for layer in layers
    )
    made = recurrent[0] if len(recurrent) == 1 else None
    if made is None or others or made.unpacks:
        return False
    both = made.argument(None, "bidirectional")
    return both is None or (both.kind == "constant" and not both.constant)
