"""The windows of a run: what opens one, what lies between two, and when the watching ends."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from trained import Net, batches

from modellint.measure import merge
from modellint.recorder.session import Recorder


class Training:
    """Epochs of six steps and of an evaluation, with a model that has a dropout."""

    def __init__(self):
        self.model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 5))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        x, y = (torch.cat(parts) for parts in zip(*batches(6), strict=True))
        self.loader = DataLoader(TensorDataset(x, y), 12, shuffle=True)
        self.epochs = 0

    def epoch(self):
        for x, y in self.loader:
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
        self.epochs += 1

    def score(self, mode=False):
        self.model.train(mode)
        with torch.no_grad():
            for x in self.loader.dataset.tensors[0].split(12):
                self.model(x)
        self.model.train()


def watch(train, windows, steps=3):
    """The Run of train(training), and how many epochs had been done when the watching ended."""
    records, ended = [], []
    training = None
    recorder = Recorder(records.append, steps, lambda: ended.append(training.epochs), windows)
    recorder.attach()
    try:
        training = Training()
        train(training)
    finally:
        recorder.flush()
        recorder.detach()
    assert [r["message"] for r in records if r["kind"] == "warning"] == []
    return merge.merge([records]), (ended or [None])[0]


def epochs(training):
    for _ in range(6):
        training.epoch()
        training.score()


def test_one_window_ends_after_its_steps():
    run, ended = watch(epochs, windows=1)
    assert [step.index for step in run.steps] == [0, 1, 2]
    assert (ended, run.evaluations) == (0, ())


def test_an_evaluation_and_the_second_epoch_are_windows():
    run, ended = watch(epochs, windows=3)
    assert [(step.window, step.index) for step in run.steps] == [(0, 0), (0, 1), (0, 2), (2, 6), (2, 7), (2, 8)]
    assert [(window.phase, window.step) for window in run.windows] == [("start", 0), ("evaluation", 6), ("epoch", 6)]
    assert [(found.step, found.active, found.graphs) for found in run.evaluations] == [(6, (), False)]
    assert ended == 1


def test_the_watching_ends_when_a_whole_epoch_brings_nothing_new():
    run, ended = watch(epochs, windows=9)
    assert len(run.windows) == 3
    assert ended == 3


def test_steps_of_a_window_are_measured_from_their_first_backward_on():
    run, _ = watch(epochs, windows=3)
    assert all(step.backwards == 1 and step.gradient_norm and step.class_loss and step.batch for step in run.steps)


def test_layers_that_are_frozen_open_a_window():
    def train(training):
        training.epoch()
        training.model[0].requires_grad_(False)
        training.epoch()

    run, _ = watch(train, windows=2)
    assert [window.phase for window in run.windows] == ["start", "epoch"]

    def within(training):
        for number, (x, y) in enumerate(training.loader):
            training.model[0].requires_grad_(number < 4)
            training.optimizer.zero_grad()
            F.cross_entropy(training.model(x), y).backward()
            training.optimizer.step()

    run, _ = watch(within, windows=2)
    assert [(window.phase, window.step) for window in run.windows] == [("start", 0), ("requires_grad", 5)]


def test_a_second_fit_opens_a_window():
    def train(training):
        training.epoch()
        training.optimizer = torch.optim.Adam(training.model.parameters())
        training.epoch()

    run, _ = watch(train, windows=2)
    assert [(window.phase, window.step) for window in run.windows] == [("start", 0), ("optimizer", 6)]
    assert [step.optimizer for step in run.steps] == [0, 0, 0, 1, 1, 1]


def test_an_evaluation_in_training_mode_names_what_is_at_work():
    def train(training):
        training.epoch()
        training.score(mode=True)

    run, _ = watch(train, windows=2)
    assert [found.active for found in run.evaluations] == [("2",)]


@pytest.mark.parametrize(
    ("part", "alike", "found"),
    [(nn.Dropout(0.1), True, [("2",)]), (nn.Dropout(0.1), False, []), (nn.BatchNorm1d(16), True, [])],
    ids=["one graph", "batches", "a norm over the graph"],
)
def test_all_data_in_one_batch_is_evaluated_after_each_step(part, alike, found):
    def train(training):
        training.model[2] = part
        for x, y in batches(1) * 6 if alike else batches(6):
            training.model.train()
            training.optimizer.zero_grad()
            F.cross_entropy(training.model(x), y).backward()
            training.optimizer.step()
            with torch.no_grad():
                training.model(x)

    assert [each.active for each in watch(train, windows=1, steps=6)[0].evaluations] == found


def test_forward_passes_of_training_are_no_evaluation():
    def train(training):
        for x, _ in training.loader:
            with torch.no_grad():
                soft = [training.model(x + noise).softmax(1) for noise in (0.0, 0.1, 0.2, 0.3)]
            training.optimizer.zero_grad()
            F.cross_entropy(training.model(x), soft[0]).backward()
            training.optimizer.step()

    run, _ = watch(train, windows=2, steps=6)
    assert run.evaluations == ()


def test_the_same_batch_many_times_is_no_evaluation():
    def train(training):
        training.epoch()
        x = training.loader.dataset.tensors[0]
        with torch.no_grad():
            for _ in range(10):
                training.model(x)

    assert watch(train, windows=2)[0].evaluations == ()


@pytest.mark.parametrize("windows", [1, 4])
def test_the_weights_are_bitwise_the_same(windows):
    def trained(watched):
        torch.manual_seed(0)
        results = []

        def train(training):
            epochs(training)
            results.append([parameter.clone() for parameter in training.model.parameters()])

        if watched:
            watch(train, windows)
        else:
            train(Training())
        return results[0]

    assert all(torch.equal(one, other) for one, other in zip(trained(True), trained(False), strict=True))


def test_nothing_is_transferred_between_windows(monkeypatch):
    read = []
    original = torch.Tensor.item

    def train(training):
        training.epoch()
        monkeypatch.setattr(torch.Tensor, "item", lambda self: read.append(1) or original(self))
        data = [(x, y) for x, y in training.loader.dataset]
        for x, y in data[:5]:
            training.optimizer.zero_grad()
            F.cross_entropy(training.model(x[None]), y[None]).backward()
            training.optimizer.step()
        monkeypatch.undo()

    watch(train, windows=2)
    assert read == []


def test_a_model_may_be_left_in_evaluation_mode_by_the_first_evaluation():
    def train(training):
        training.epoch()
        training.score()
        training.model.eval()
        training.epoch()

    run, _ = watch(train, windows=3)
    assert [step.batch.idle for step in run.steps] == [(), (), (), ("2",), ("2",), ("2",)]


def test_a_model_is_known_inside_its_wrapper():
    def train(training):
        inner = Net()
        training.model = nn.DataParallel(inner)
        training.optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
        training.epoch()
        training.model = inner
        training.score()

    assert len(watch(train, windows=3)[0].evaluations) == 1


def whole(training, *, calls=1, trains_after=True, score=None):
    """Epochs of one step with all data, each followed by an evaluation of it."""
    x, y = training.loader.dataset.tensors

    def evaluate():
        with torch.no_grad():
            for _ in range(calls):
                training.model(x)

    for _ in range(6):
        if not trains_after:
            evaluate()
        training.optimizer.zero_grad()
        F.cross_entropy(training.model(x), y).backward()
        training.optimizer.step()
        if trains_after:
            (score or training.model.train)()
            evaluate()
            training.model.train()


def test_the_whole_data_evaluated_in_training_mode():
    run, _ = watch(whole, windows=1, steps=5)
    assert [found.active for found in run.evaluations] == [("2",)]


def test_the_whole_data_evaluated_in_evaluation_mode():
    run, _ = watch(lambda training: whole(training, score=training.model.eval), windows=1, steps=5)
    assert [found.active for found in run.evaluations] == [()]


@pytest.mark.parametrize("options", [{"calls": 8}, {"trains_after": False}], ids=str)
def test_targets_and_draws_are_no_evaluation(options):
    run, _ = watch(lambda training: whole(training, **options), windows=1, steps=5)
    assert run.evaluations == ()
