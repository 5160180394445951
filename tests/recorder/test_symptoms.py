"""What single measurements say of faults that are put into one small training: in process, three to six steps."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained import Net, batches, classify, record


def test_a_kept_loss_keeps_its_graph():
    model, kept = Net(), []

    def loss(scores, labels):
        kept.append(F.cross_entropy(scores, labels))
        return kept[-1]

    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(4), loss), steps=4)
    assert [step.graphs_alive for step in run.steps] == [1, 2, 3, 4]
    assert len({step.graph_size for step in run.steps}) == 1
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(4)), steps=4)
    assert {step.graphs_alive for step in run.steps} <= {0, 1}


def test_dead_units_are_counted_behind_their_weight():
    model = Net(width=8)
    model.body[0].bias.data[:12] = -1e3
    data = [(x.repeat(4, 1), y.repeat(4)) for x, y in batches(3)]
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), data))
    assert {name for step in run.steps for name in step.zero_units} == {"body.0.weight"}
    assert run.steps[0].zero_units["body.0.weight"] == pytest.approx(12 / 16, abs=1 / 16)


@pytest.mark.parametrize("factor", [1.0, 0.25, -1.0])
def test_the_weight_of_the_loss_in_what_is_minimised(factor):
    model = Net()

    def loss(scores, labels):
        return factor * F.cross_entropy(scores, labels) + model.head.weight.square().sum()

    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3), loss))
    assert [step.loss_weight for step in run.steps] == [pytest.approx(factor)] * 3


def test_what_a_loss_reaches_and_no_optimizer_holds():
    model = Net()
    run = record(lambda: classify(model, torch.optim.SGD(model.head.parameters(), lr=0.1), batches(4)), steps=4)
    assert [p.name for p in run.parameters if p.loose] == ["body.0.weight", "body.0.bias"]
    model.body.requires_grad_(False)
    run = record(lambda: classify(model, torch.optim.SGD(model.head.parameters(), lr=0.1), batches(4)), steps=4)
    assert not any(parameter.loose for parameter in run.parameters)


def test_equal_batches_are_known_by_their_fingerprint():
    model, (one, other) = Net(), batches(2)
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), [one, other, one]))
    first, second, third = (step.batch for step in run.steps)
    assert first.fingerprint == third.fingerprint != second.fingerprint
    assert first.shape == (12, 8)
    assert first.values.std == pytest.approx(one[0].std(correction=0).item(), rel=1e-5)


def test_a_model_that_is_trained_in_evaluation_mode():
    def idle(prepare):
        model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, 5))
        prepare(model)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        run = record(lambda: classify(model, torch.optim.SGD(trained, lr=0.1), batches(3)))
        return {step.batch.idle for step in run.steps}

    assert idle(lambda model: model.eval()) == {("1", "2")}
    assert idle(lambda model: model[1].eval()) == {()}  # frozen statistics in a model that is trained
    assert idle(lambda model: model.eval()[:3].requires_grad_(False)) == {()}  # a linear probe


class Dropping(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.first, self.second, self.dropout = nn.Linear(8, 16), nn.Linear(16, 5), dropout

    def forward(self, x):
        return self.second(F.dropout(self.first(x).relu(), self.dropout, training=self.training))


@pytest.mark.parametrize(("dropout", "found"), [(0.3, ("Dropping",)), (0.0, ())])
def test_dropouts_that_are_functions(dropout, found):
    model = Dropping(dropout).eval()
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3)))
    assert {step.batch.idle for step in run.steps} == {found}


@pytest.mark.parametrize(("dropout", "found"), [(0.3, ("read",)), (0.0, ())])
def test_dropouts_between_recurrent_layers(dropout, found):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.read, self.head = nn.GRU(8, 6, 2, dropout=dropout), nn.Linear(6, 5)

        def forward(self, x):
            return self.head(self.read(x[None])[0][0])

    model = Reader().eval()
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3)))
    assert {step.batch.idle for step in run.steps} == {found}


def test_the_sides_of_a_binary_loss():
    model = Net(classes=1)

    def loss(scores, labels):
        return F.binary_cross_entropy_with_logits(scores.squeeze(1), (labels > 2).float())

    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3), loss))
    pair = run.steps[0].pair
    assert (pair.shape, pair.target_shape, pair.target.min, pair.target.max) == ((12,), (12,), 0.0, 1.0)
    assert 0 < pair.positives < 12


def test_an_optimizer_that_never_steps_is_known_by_its_gradients():
    model = Net()

    def train():
        made = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (model.head, model.body)]
        for x, y in batches(3):
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
            made[0].step()

    run = record(train)
    assert [made.backwards for made in run.optimizers] == [3, 3]
    assert {step.optimizer for step in run.steps} == {0}


@pytest.mark.parametrize(("given", "expected"), [(lambda s: s, False), (lambda s: s.log_softmax(1), True)])
def test_whether_scores_are_log_probabilities(given, expected):
    model = Net()

    def loss(scores, labels):
        return F.nll_loss(given(scores), labels)

    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3), loss))
    assert {step.logits.log_probabilities for step in run.steps} == {expected}
