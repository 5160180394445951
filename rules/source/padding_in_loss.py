"""ML167."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import lookup, tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Loss
from modellint.source.pretrained import causal

CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss")
TELLS = ("ignore_index", "weight")  # options of a loss that may leave the padding out
FLAT = ("view", "reshape", "flatten")
# In a file that says so, padding may be left out by other means.
MASKS = ("mask", "pack_padded_sequence", "lengths", "lens", "seq_lens")
IGNORED = -100


class PaddingInLoss(SourceRule):
    """The padding of the sequences counts in the loss as if it were a label.

    Why: short sequences are filled up to the longest one of the batch. Cross entropy averages over these places too: much of
        what the model learns is to predict padding, and the loss falls by that alone.
    Fix: `ignore_index=PAD` for the loss, or fill the labels up with -100, which it ignores by itself.
    Ignore: when the padding is a class that the model is meant to predict. Where only an embedding tells that there is padding
        it is a suspicion.
    Reported: https://github.com/lukas-blecher/LaTeX-OCR/issues/305, https://github.com/lucidrains/DALLE-pytorch/issues/57,
        https://github.com/DaoyuanLi2816/Molecule-Generator/pull/20
    """

    code, severity, topic = "ML167", Severity.WARNING, "sequences"
    twins = ("padding-counts",)
    words = (
        (".backward(", "ntropy"), (".backward(", "NLLLoss"), ("pad_sequence", "collate_fn"),
        *(("labels=", "padding", name) for name in ("ForCausalLM", "LMHead")),
    )  # fmt: skip
    bad = (
        """
        from torch.nn.utils.rnn import pad_sequence
        from torch.utils.data import DataLoader

        def collate(pairs):
            words, tags = zip(*pairs)
            return pad_sequence(words, batch_first=True), pad_sequence(tags, batch_first=True)

        criterion = nn.CrossEntropyLoss()
        loader = DataLoader(data, batch_size=32, shuffle=True, collate_fn=collate)
        for words, tags in loader:
            words, tags = words.to(device), tags.to(device)
            optimizer.zero_grad()
            criterion(model(words).view(-1, 20), tags.view(-1)).backward()
            optimizer.step()
        """,
        """
        class Translator(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(8000, 64, padding_idx=0)
                self.decoder, self.head = nn.GRU(64, 64, batch_first=True), nn.Linear(64, 8000)

            def forward(self, x):
                return self.head(self.decoder(self.embedding(x))[0])

        net = Translator()
        optimizer = torch.optim.Adam(net.parameters())
        for x, y in loader:
            loss = F.cross_entropy(net(x).reshape(-1, 8000), y.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        """,
        """
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained("gpt2")
        for texts in batches:
            batch = tokenizer(texts, return_tensors="pt", padding=True)
            loss = model(**batch, labels=batch["input_ids"]).loss
            loss.backward()
        """,
    )
    good = (
        """
        from torch.nn.utils.rnn import pad_sequence
        from torch.utils.data import DataLoader

        PAD = 0

        def collate(pairs):
            words, tags = zip(*pairs)
            return pad_sequence(words, batch_first=True), pad_sequence(tags, batch_first=True, padding_value=-100)

        def classify(pairs):
            words, labels = zip(*pairs)
            return pad_sequence(words, batch_first=True), torch.stack(labels)

        criterion = nn.CrossEntropyLoss()
        loader = DataLoader(data, batch_size=32, shuffle=True, collate_fn=collate)
        for words, tags in loader:
            loss = criterion(model(words).view(-1, 20), tags.view(-1))
            loss = loss + F.cross_entropy(head(words).view(-1, 20), tags.view(-1), ignore_index=PAD)
        for words, labels in DataLoader(texts, batch_size=32, shuffle=True, collate_fn=classify):
            loss = criterion(model(words), labels)
        """,
        """
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(8000, 64, padding_idx=0)
                self.head = nn.Linear(64, 2)

            def forward(self, x):
                return self.head(self.embedding(x).mean(1))

        net = Classifier()
        optimizer = torch.optim.Adam(net.parameters())
        for x, y in loader:
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained("gpt2")
        for texts in batches:
            batch = tokenizer(texts, return_tensors="pt", padding=True)
            labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
            model(**batch, labels=labels).loss.backward()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        padded = _padded(script) if script.losses else set()
        suspected = bool(script.losses) and script.attributes.isdisjoint(MASKS) and _knows_padding(script)
        for loss in script.losses:
            function = lookup.function(script, loss.location)
            if (
                loss.kind not in CLASS_LOSSES
                or function is None
                or not _averages(loss)
                or loss.call.argument(1, "target") is None
            ):
                continue
            if _position(function, loss) in padded:
                yield self.at(
                    loss,
                    "counts the places that are filled up: the labels are padded, and none is ignored",
                    certain=loss.certain,
                )
            elif suspected and _is_flat(function, loss):
                yield self.at(
                    loss, "may count padding as a label: an embedding has a `padding_idx`, and no label is ignored"
                )
        yield from self._pretrained(script)

    def _pretrained(self, script: Script) -> Iterator[Diagnostic]:
        """Models of transformers that are given the padded tokens themselves as labels."""
        names = causal(script)
        for function in script.functions if names and not _ignores(script) else ():
            for at, event in enumerate(function.events):
                call = event.value if event.kind == "call" else None
                labels = call.argument(None, "labels") if call is not None and call.name in names else None
                tokens = _tokens(function, labels, at) if labels is not None else None
                if call is not None and tokens is not None and _pads(tokens):
                    yield self.at(
                        call, "is given the padded tokens as labels: the padding is learned too", certain=True
                    )


def _averages(loss: Loss) -> bool:
    """Whether it takes all places into its mean or sum, as far as its options tell."""
    calls = (loss.settings, loss.call)
    if any(call.unpacks or any(call.argument(None, name) is not None for name in TELLS) for call in calls):
        return False
    reduction = loss.settings.argument(None, "reduction")
    given = loss.settings.arguments if loss.made is not None else loss.settings.arguments[2:]
    return not given and (reduction is None or reduction.constant in ("mean", "sum"))


def _padded(script: Script) -> set[int]:
    """The positions of labels in the batches that the file's one collate function fills up with a label."""
    loaders = [call for call in script.calls if call.method == "DataLoader"]
    given = {value.method for call in loaders if (value := call.argument(None, "collate_fn")) is not None}
    plain = any(call.argument(None, "collate_fn") is None for call in loaders)
    functions = (
        [f for f in script.functions if f.name.rpartition(".")[2] in given] if len(given) == 1 and not plain else []
    )
    return {place for function in functions for place in _filled(script, function)}


def _filled(script: Script, collate: Function) -> Iterator[int]:
    returns = [
        e.value for e in collate.events if e.kind == "return" and e.value is not None and e.value.kind == "tuple"
    ]
    for place, part in enumerate(returns[0].arguments) if len(returns) == 1 else ():
        made = tensors.made(collate, part)
        if place and made.kind == "call" and made.method == "pad_sequence" and not made.unpacks:
            value = made.argument(2, "padding_value")
            named = value is not None and value.kind == "name"
            number = tensors.bound(script.functions[0], value.name) if named and value is not None else value
            if value is None or (
                number is not None and isinstance(number.constant, int | float) and number.constant >= 0
            ):
                yield place


def _position(function: Function, loss: Loss) -> int | None:
    """Which part of the batch the target is, as it is."""
    at, target = tensors.place(function, loss.call), loss.call.argument(1, "target")
    made = tensors.followed(function, target, at) if target is not None else None
    if made is None or made.kind != "item" or made.base is None:
        return None
    base = tensors.made(function, made.base) if made.base.kind == "name" else made.base
    element = base.kind == "element" or (base.kind == "item" and base.base is not None and base.base.kind == "element")
    constant = made.arguments[0].constant
    return constant if element and isinstance(constant, int) else None


def _knows_padding(script: Script) -> bool:
    """Whether a model that is trained has an embedding with a place for padding."""
    layers = (layer for made in script.optimizers for model in made.models for layer in model.layers)
    embeddings = (layer.made for layer in layers if layer.short == "Embedding")
    return any(call is not None and call.argument(2, "padding_idx") is not None for call in embeddings)


def _is_flat(function: Function, loss: Loss) -> bool:
    """Whether the target is a whole sequence, laid flat."""
    target = loss.call.argument(1, "target")
    if target is not None and target.kind == "name":
        target = tensors.bound(function, target.name, tensors.place(function, loss.call))
    while target is not None and target.kind == "call" and target.method not in FLAT:
        target = target.receiver
    flat = target is not None and target.method in FLAT
    return (
        flat and target is not None and (target.method == "flatten" or [a.constant for a in target.arguments] == [-1])
    )


def _ignores(script: Script) -> bool:
    parts = (value for function in script.functions for value in function.values)
    return any(part.kind == "constant" and part.constant == IGNORED for part in parts)


def _tokens(function: Function, labels: Value, at: int) -> Value | None:
    """What made the tokens that are the labels as well: `tokenizer(texts)` of `batch["input_ids"]`."""
    value = tensors.made(function, labels, at)
    owner = (
        value.receiver
        if value.kind == "name" and value.method == "input_ids"
        else value.base
        if _is_ids(value)
        else None
    )
    return tensors.made(function, owner, at) if owner is not None else None


def _is_ids(value: Value) -> bool:
    named = value.kind == "item" and value.arguments[0].constant == "input_ids"
    return named or (value.kind == "attribute" and value.name == "input_ids")


def _pads(call: Value) -> bool:
    given = call.argument(None, "padding") if call.kind == "call" else None
    return given is not None and given.constant in (True, "longest", "max_length")
