"""Training without backward(): gradients that autograd.grad() or torch.func hands out, and what is done with them."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained import Net, batches, record

from modellint.recorder.session import Recorder


def assigned(model, data):
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    for x, y in data:
        found = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
        optimizer.step()


def in_place(model, data):
    parameters = tuple(model.parameters())
    for x, y in data:
        found = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter -= 0.5 * gradient


def new_leaves(model, data):
    """Each step makes new tensors, as meta-learning does; the model is given them at the end."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    for x, y in data:
        logits = torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x,))
        found = torch.autograd.grad(F.cross_entropy(logits, y), parameters)
        parameters = [(p - 0.5 * g).detach().requires_grad_() for p, g in zip(parameters, found, strict=True)]
    model.load_state_dict(dict(zip(names, parameters, strict=True)))


def functional(model, data):
    def loss(parameters, x, y):
        return F.cross_entropy(torch.func.functional_call(model, parameters, (x,)), y)

    parameters = {name: each.detach() for name, each in model.named_parameters()}
    for x, y in data:
        slope = torch.func.grad(loss)(parameters, x, y)
        parameters = {name: each - 0.5 * slope[name] for name, each in parameters.items()}
    model.load_state_dict(parameters)


WAYS = [assigned, in_place, new_leaves, functional]


@pytest.mark.parametrize("train", WAYS)
def test_what_a_step_applies_is_measured(train):
    model, data = Net(), batches(5)
    reference = copy.deepcopy(model)
    run = record(lambda: train(model, data), steps=3)
    assert len(run.steps) == 3
    if train is not assigned:  # the first step by hand is discovered too late
        assigned(reference, data[:1])
        del data[0]
    for step, (x, y) in zip(run.steps, data, strict=False):
        loss = F.cross_entropy(reference(x), y)
        norms = [gradient.norm().item() for gradient in torch.autograd.grad(loss, list(reference.parameters()))]
        assert (step.loss, step.class_loss) == (pytest.approx(loss.item(), rel=1e-4),) * 2
        assert step.labels == tuple(y.tolist())
        assert list(step.gradients.values()) == pytest.approx(norms, rel=1e-4)
        assert step.gradients == step.gradients_at_step
        assert (step.norms_at_backward, step.backwards) == ((0.0,), 1)
        assert step.loss_weight == pytest.approx(1.0)
        old = [parameter.norm().item() for parameter in reference.parameters()]
        changes = [0.5 * norm / size for norm, size in zip(norms, old, strict=True)]
        assert list(step.updates.values()) == pytest.approx(changes, rel=1e-4)
        assigned(reference, [(x, y)])
    assert all(parameter.requires_grad for parameter in run.parameters)


@pytest.mark.parametrize("train", WAYS)
def test_the_weights_are_bitwise_the_same(train):
    data = batches(6)
    bare = Net()
    watched = copy.deepcopy(bare)
    train(bare, data)
    record(lambda: train(watched, data), steps=3)
    assert all(torch.equal(a, b) for a, b in zip(bare.parameters(), watched.parameters(), strict=True))


def test_two_questions_make_one_step():
    """The gradients of two losses are balanced: each parameter has the one that it was handed last."""
    model, data = Net(), batches(3)
    extra = nn.Linear(16, 1)
    parameters = [*model.parameters(), *extra.parameters()]

    def train():
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        for x, y in data:
            features = model.body(x)
            losses = F.cross_entropy(model.head(features), y), extra(features).square().mean()
            for loss in losses:
                found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                for parameter, gradient in zip(parameters, found, strict=True):
                    if gradient is not None:
                        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            optimizer.step()
            optimizer.zero_grad()

    run = record(train)
    assert [step.backwards for step in run.steps] == [2, 2, 2]
    assert all(None not in step.gradients.values() for step in run.steps)
    assert all(step.class_loss is not None for step in run.steps)


def test_a_question_beside_backward_is_none_of_a_step():
    """A weight that balances two losses, a penalty on the gradient by the inputs, a map of what an input does."""
    model, data = Net(), batches(3)

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in data:
            optimizer.zero_grad()
            x.requires_grad_()
            loss = F.cross_entropy(model(x), y)
            torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
            torch.autograd.grad(loss, model.head.weight, retain_graph=True)
            (slope,) = torch.autograd.grad(loss, x, create_graph=True)
            (loss + slope.square().sum()).backward()
            optimizer.step()

    steps = record(train).steps
    assert [step.backwards for step in steps] == [1, 1, 1]
    for step in steps:
        assert step.gradients == step.gradients_at_step


@pytest.mark.parametrize("ask", [torch.autograd.grad, None])
def test_a_map_of_what_an_input_does_is_no_training(ask):
    model = Net()

    def look():
        for x, _ in batches(5):
            if ask is None:
                torch.func.grad(lambda x: model(x).sum())(x)
            else:
                ask(model(x.requires_grad_()).sum(), x)

    assert record(look).steps == ()


def test_gradients_of_each_sample_are_left_alone():
    model = Net()
    parameters = {name: each.detach() for name, each in model.named_parameters()}

    def loss(parameters, x, y):
        return F.cross_entropy(torch.func.functional_call(model, parameters, (x[None],)), y[None])

    def train():
        for x, y in batches(3):
            torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, y)

    assert record(train).steps == ()


def test_an_unwatched_step_asks_nothing_more(monkeypatch):
    """After the last watched step the question is handed on, and nothing is measured."""
    model, data, records = Net(), batches(8), []
    recorder = Recorder(records.append, steps=2, windows=2)
    recorder.attach()
    try:
        assigned(model, data[:3])
        monkeypatch.setattr(recorder.backwards, "observe", lambda *_: pytest.fail("observed"))
        count = sum(record["kind"] == "step" for record in records)
        parameters = list(model.parameters())
        for x, y in data[3:]:
            torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
    finally:
        recorder.detach()
    assert (count, [record for record in records if record["kind"] == "warning"]) == (2, [])
