"""What the examinations find, what they leave alone by design, and that nothing of the user's changes."""

import copy
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from trained import record

from modellint.recorder import capacity, specimen
from modellint.recorder.session import Recorder


@pytest.fixture(autouse=True)
def _in_time(monkeypatch):
    monkeypatch.setattr(capacity, "SECONDS", 60.0)  # the machine may be busy
    monkeypatch.setattr(specimen, "SECONDS", 60.0)


def fit(model, batches, loss, call=lambda model, x: model(x)):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for x, y in batches:
        optimizer.zero_grad()
        loss(call(model, x), y).backward()
        optimizer.step()


def classify(model, x, y, call=lambda model, x: model(x), batch=8, loss=F.cross_entropy):
    loader = DataLoader(TensorDataset(x, y), batch_size=batch)
    return record(lambda: fit(model, loader, loss, call))


class Tagger(nn.Module):
    """[batch, time] tokens to [batch, classes], through whatever reads [batch, time, width]."""

    def __init__(self, reader, classes=3, width=16, mean=True):
        super().__init__()
        self.embedding, self.reader, self.head = nn.Embedding(20, width), reader, nn.LazyLinear(classes)
        self.mean = mean

    def forward(self, x):
        states = self.reader(self.embedding(x))
        states = states[0] if isinstance(states, tuple) else states
        return self.head(states.mean(1) if self.mean else states)


def initialised(model, *inputs):
    model(*inputs)
    return model


def encoder(batch_first):
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


TOKENS = torch.randint(0, 20, (24, 6), generator=torch.Generator().manual_seed(1))
LABELS = TOKENS.sum(1) % 3


@pytest.mark.parametrize(
    ("reader", "found"),
    [
        (lambda: encoder(batch_first=False), True),
        (lambda: encoder(batch_first=True), False),
        (lambda: nn.LSTM(16, 16), True),
        (lambda: nn.LSTM(16, 16, batch_first=True), False),
    ],
)
def test_samples_that_meet(reader, found):
    model = initialised(Tagger(reader()), TOKENS[:1])
    examined = classify(model, TOKENS, LABELS).examined("batch-mixing")
    assert (examined.found, examined.sure, examined.reason) == (found, found, "") or not found
    assert examined.found is found
    if found:
        assert examined.origin.module == "reader"
        assert examined.origin.line == Tagger.forward.__code__.co_firstlineno + 1


class Reader(nn.Module):
    """Attention by a function over queries, keys and values of one layer."""

    def __init__(self, mix):
        super().__init__()
        self.qkv, self.mix = nn.Linear(16, 48), mix

    def forward(self, x):
        return self.mix(*self.qkv(x).chunk(3, dim=-1))


def by_hand(q, k, v):
    return (q @ k.mT / 4).softmax(-1) @ v


def swapped(q, k, v):
    return F.scaled_dot_product_attention(*(each.transpose(0, 1) for each in (q, k, v))).transpose(0, 1)


MIXING = {
    "function": (swapped, True),
    "function along time": (F.scaled_dot_product_attention, False),
    "scores over the batch by hand": (
        lambda q, k, v: torch.einsum("atd,btd->tab", q, k).softmax(-1) @ v.transpose(0, 1),
        True,
    ),
    "scores over time by hand": (by_hand, False),
    "time first by a view": (lambda q, k, v: by_hand(*(e.reshape(6, 8, 16).transpose(0, 1) for e in (q, k, v))), True),
    "heads by a permutation": (
        lambda q, k, v: by_hand(*(e.unflatten(2, (4, 4)).transpose(1, 2) for e in (q, k, v))),
        False,
    ),
    "statistics of the batch": (lambda q, k, v: v - q.mean(0, keepdim=True), True),
}


@pytest.mark.parametrize("name", MIXING)
def test_samples_that_meet_by_functions(name):
    mix, found = MIXING[name]

    def read(q, k, v):
        mixed = mix(q, k, v)
        return (
            mixed.reshape(len(q), 6, -1) if mixed.shape[0] == len(q) else mixed.transpose(0, 1).reshape(len(q), 6, -1)
        )

    model = initialised(Tagger(Reader(read)), TOKENS[:8])
    assert classify(model, TOKENS, LABELS).examined("batch-mixing").found is found


def test_the_softmax_over_the_batch():
    model = nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(dim=0))
    run = classify(model, torch.randn(24, 5), torch.randint(0, 3, (24,)), loss=F.nll_loss)
    assert run.examined("batch-mixing").found


def test_a_default_device_is_that_of_the_model_alone():
    model, x = initialised(Tagger(encoder(False)), TOKENS), TOKENS
    y = x.sum(1) % 3
    batches = [(x[rows], y[rows]) for rows in torch.arange(24).split(8)]

    def train():
        torch.set_default_device("meta")  # as a GPU would be
        try:
            fit(model, batches, F.cross_entropy)
        finally:
            torch.set_default_device(None)

    (mixed,) = (each for each in record(train).examinations if each.name == "batch-mixing")
    assert mixed.found


def test_a_batch_norm_in_evaluation_mode_does_not_mix():
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    assert classify(model, torch.randn(24, 5), torch.randint(0, 3, (24,))).examined("batch-mixing").found is False


def test_time_may_come_first():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstm, self.head = nn.Embedding(20, 16), nn.LSTM(16, 16), nn.Linear(16, 20)

        def forward(self, text):
            return self.head(self.lstm(self.embedding(text))[0]).flatten(0, 1)

    texts = [torch.randint(0, 20, (9, 6)) for _ in range(3)]
    run = record(lambda: fit(Net(), [(text[:-1], text[1:].flatten()) for text in texts], F.cross_entropy))
    assert run.examined("batch-mixing").found is False
    assert run.examined("causality").found is False


class Graphs(nn.Module):
    def __init__(self, adjacency):
        super().__init__()
        self.adjacency, self.layer = adjacency, nn.Linear(5, 3)

    def forward(self, features):
        return self.adjacency @ self.layer(features)


def test_a_whole_graph_is_no_batch():
    features, adjacency = torch.randn(12, 5), torch.ones(12, 12)
    batches = [(features, torch.randint(0, 3, (12,)))] * 3
    examined = record(lambda: fit(Graphs(adjacency), batches, F.cross_entropy)).examined("batch-mixing")
    assert not examined.sure


def test_a_contrastive_model_compares_samples():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 4)

        def forward(self, x):
            return self.layer(x) @ self.layer(x + 0.1).T

    batches = [(torch.randn(8, 5), torch.arange(8)) for _ in range(3)]
    assert "compare" in record(lambda: fit(Pairs(), batches, F.cross_entropy)).examined("batch-mixing").reason


def test_arguments_by_name_in_containers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(5, 3)

        def forward(self, *, features, scale):
            return {"hidden": None, "logits": self.body(features["x"]) * scale[0]}

    def call(model, x):
        return model(features={"x": x}, scale=[2.0])["logits"]

    run = classify(Net(), torch.randn(24, 5), torch.randint(0, 3, (24,)), call)
    assert [(e.name, e.found) for e in run.examinations][:2] == [("determinism", False), ("batch-mixing", False)]


class Causal(nn.Module):
    def __init__(self, mask, vocabulary=20):
        super().__init__()
        self.embedding, self.body, self.head = nn.Embedding(20, 16), encoder(True), nn.Linear(16, vocabulary)
        self.mask = mask

    def forward(self, text):
        return self.head(self.body(self.embedding(text), mask=self.mask))


def next_tokens(logits, text):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), text[:, 1:].flatten())


@pytest.mark.parametrize(("diagonal", "found"), [(None, True), (1, False), (2, True)])
def test_the_next_token_is_seen(diagonal, found):
    mask = None if diagonal is None else torch.full((6, 6), float("-inf")).triu(diagonal)
    run = classify(Causal(mask), TOKENS, TOKENS, loss=next_tokens)
    assert run.examined("causality").found is found
    if found:
        assert run.examined("causality").origin.module == "body"


CAUSAL = {
    "function": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v), True),
    "function, causal": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), False),
    "by hand": (by_hand, True),
    "by hand, masked": (
        lambda q, k, v: (q @ k.mT).masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf).softmax(-1) @ v, False
    ),
    "masked above the next place": (
        lambda q, k, v: (q @ k.mT).masked_fill(torch.ones(6, 6).triu(2).bool(), -torch.inf).softmax(-1) @ v, True
    ),
    "convolution": (lambda q, k, v: F.avg_pool1d(v.mT, 3, stride=1, padding=1).mT, True),
    "convolution, padded on the left": (lambda q, k, v: F.avg_pool1d(F.pad(v.mT, (2, 0)), 3, stride=1).mT, False),
    "sum over time": (lambda q, k, v: v.flip(1).cumsum(1).flip(1), True),
    "sum up to here": (lambda q, k, v: v.cumsum(1), False),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSAL)
def test_the_next_token_is_seen_by_functions(name):
    mix, found = CAUSAL[name]
    model = initialised(Tagger(Reader(mix), 20, mean=False), TOKENS[:8])
    assert classify(model, TOKENS, TOKENS, loss=next_tokens).examined("causality").found is found


def test_convolutions_bidirectional_layers_and_one_hot_text():
    hot = F.one_hot(TOKENS, 20).float()
    model = initialised(Tagger(nn.GRU(16, 8, batch_first=True, bidirectional=True), 20, mean=False), TOKENS[:1])
    model.embedding = nn.Linear(20, 16)
    loader = [(hot[i : i + 8], TOKENS[i : i + 8]) for i in (0, 8, 16)]
    assert record(lambda: fit(model, loader, next_tokens)).examined("causality").found


def test_labels_that_are_not_the_next_tokens():
    model = initialised(Tagger(encoder(True), 20, mean=False), TOKENS[:1])

    def masked(logits, text):
        return F.cross_entropy(logits.flatten(0, 1), text.flatten())

    assert classify(model, TOKENS, TOKENS, loss=masked).examined("causality").found is None


class Stray(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.layer, self.draw = nn.Linear(5, 3), draw

    def forward(self, x):
        return self.layer(self.draw(x, self.training))


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda x, training: F.dropout(x, 0.5), "dropout"),
        (lambda x, training: x + torch.randn_like(x), "randn_like"),
        (lambda x, training: x * random.random(), None),
        (lambda x, training: F.dropout(x, 0.5, training), ""),
    ],
)
def test_what_is_drawn_in_evaluation_mode(draw, name):
    examined = classify(Stray(draw), torch.randn(24, 5), torch.randint(0, 3, (24,))).examined("determinism")
    assert examined.found is (name != "")
    assert [drawn.name for drawn in examined.draws] == [name] * bool(name)
    assert all(drawn.location.line == draw.__code__.co_firstlineno for drawn in examined.draws)


def test_a_model_with_a_past_is_copied():
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.state = nn.Linear(5, 3), torch.zeros(3)

        def forward(self, x):
            self.state = self.layer(x).mean(0) + 0.5 * self.state.detach()
            return self.layer(x) + self.state.detach()

    run = classify(Stateful(), torch.randn(24, 5), torch.randint(0, 3, (24,)))
    assert run.examined("determinism").reason == ""


def test_what_cannot_be_examined_says_why():
    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x):
            if not self.training:
                raise RuntimeError("only for training")
            return self.layer(x)

    run = classify(Once(), torch.randn(24, 5), torch.randint(0, 3, (24,)))
    assert "only for training" in run.examined("determinism").reason
    hooked = nn.Sequential(nn.Linear(5, 3))
    hooked[0].register_forward_hook(lambda *_: None)
    run = classify(hooked, torch.randn(24, 5), torch.randint(0, 3, (24,)))
    assert "hooks" in run.examined("determinism").reason


def test_nothing_of_the_users_changes():
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
    model[2].eval()
    batches = [(torch.randn(8, 5), torch.randint(0, 3, (8,))) for _ in range(4)]

    def outcome(examines):
        torch.manual_seed(3)
        random.seed(3)
        trained = copy.deepcopy(model)
        recorder = Recorder(lambda record: None, steps=2)
        recorder.examines = examines
        optimizer = torch.optim.Adam(trained.parameters())
        recorder.attach()
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(trained(x), y).backward()
            optimizer.step()
        recorder.detach()
        tensors = [*trained.state_dict().values(), *(p.grad for p in trained.parameters())]
        tensors += [value for state in optimizer.state.values() for value in state.values()]
        modes = [module.training for module in trained.modules()]
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in trained.modules()]
        return tensors, (modes, hooks, torch.rand(1).item(), random.random())

    (with_it, states), (without, same) = outcome(True), outcome(False)
    assert all(torch.equal(one, other) for one, other in zip(with_it, without, strict=True))
    assert states == same
    assert torch.nn.Module.__call__.__name__ == "_wrapped_call_impl"


class Deaf(nn.Module):
    """Its scores do not depend on what it is given."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(torch.relu(self.body(x) * 0))


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), False),
        (nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)), False),
        (nn.Linear(8, 3), False),
        (Deaf(), True),
    ],
    ids=["mlp", "norm and dropout", "linear", "deaf"],
)
def test_whether_one_batch_can_be_fitted(model, found):
    run = classify(model, torch.randn(24, 8), torch.arange(24) % 3)
    assert run.examined("capacity").found is found


def test_fitting_changes_nothing_of_the_model():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    bare, x, y = copy.deepcopy(model), torch.randn(24, 8), torch.arange(24) % 3
    classify(model, x, y)
    fit(bare, DataLoader(TensorDataset(x, y), batch_size=8), F.cross_entropy)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), bare.parameters(), strict=True))


def test_a_batch_of_one_class_says_nothing_of_the_model():
    run = classify(nn.Linear(8, 3), torch.randn(24, 8), torch.zeros(24, dtype=torch.long))
    assert run.examined("capacity").reason == "the last batch holds one class"


def test_a_model_that_is_asked_for_the_token_it_reads():
    class Reader(nn.Module):
        def __init__(self, bidirectional):
            super().__init__()
            self.embedding = nn.Embedding(20, 8)
            self.reader = nn.GRU(8, 8, batch_first=True, bidirectional=bidirectional)
            self.head = nn.Linear(16 if bidirectional else 8, 20)

        def forward(self, x):
            return self.head(self.reader(self.embedding(x))[0])

    def copying(bidirectional, shift):
        text = torch.randint(0, 20, (24, 12))
        x, y = text[:, : 12 - shift], text[:, shift:]
        run = classify(
            Reader(bidirectional), x, y, loss=lambda scores, y: F.cross_entropy(scores.flatten(0, 1), y.flatten())
        )
        return run.examined("copying").found

    assert copying(False, 0) is True
    assert copying(False, 1) is None  # the next token
    assert copying(True, 0) is False  # an autoencoder may see all of it


def test_padding_among_the_labels():
    def loss(scores, y):
        return F.cross_entropy(scores.flatten(0, 1), y.flatten(), ignore_index=-7)

    def padding(fill, lengths=(5, 7, 9, 11), shift=1, other=0):
        text = torch.randint(2, 20, (24, 13))
        ends = torch.arange(13) >= torch.tensor(lengths).repeat(24 // len(lengths))[:, None]
        x, y = text.masked_fill(ends, 0), text.masked_fill(ends, fill)
        y[-1, 0] = other or y[-1, 0]
        model = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20))
        return classify(model, x[:, : 13 - shift], y[:, shift:], loss=loss).examined("padding")

    assert padding(0).value == pytest.approx((7 + 5 + 3 + 1) * 2 / 96)
    assert padding(1, shift=0).found is True  # tags of words, with one for the padding
    assert padding(-7).found is None  # it is ignored
    assert padding(0, lengths=(12, 13)).found is None  # the sign that a text ends
    assert padding(1, shift=0, other=1).found is None  # a tag that words have too


def test_a_recurrent_net_that_takes_the_samples_for_time():
    class Language(nn.Module):
        def __init__(self, batch_first):
            super().__init__()
            self.embedding, self.reader = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=batch_first)
            self.head = nn.Linear(8, 20)

        def forward(self, x):
            return self.head(self.reader(self.embedding(x))[0])

    def mixing(batch_first, by_sample=True):
        text = torch.randint(0, 20, (16, 13))
        x, y = (text[:, :-1], text[:, 1:]) if by_sample else (text[:-1], text[1:])
        model = Language(batch_first)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

        def train():
            for _ in range(3):
                optimizer.zero_grad()
                F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
                optimizer.step()

        return record(train).examined("batch-mixing")

    assert (mixing(False).found, mixing(False).sure) == (True, True)
    assert mixing(True).found is False
    assert mixing(False, by_sample=False).found is False  # time first


def test_labels_that_a_model_is_given_for_its_loss_are_not_what_it_reads():
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.reader, self.head = (
                nn.Embedding(20, 8),
                nn.GRU(8, 8, batch_first=True),
                nn.Linear(8, 20),
            )

        def forward(self, x, y):
            scores = self.head(self.reader(self.embedding(x))[0])
            return scores, F.cross_entropy(scores.flatten(0, 1), y.flatten())

    model, text = Language(), torch.randint(0, 20, (8, 12))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def train():
        for _ in range(3):
            optimizer.zero_grad()
            model(text[:, :-1], text[:, 1:])[1].backward()
            optimizer.step()

    run = record(train)
    assert run.examined("causality").found is False
    assert run.examined("copying").found is None
