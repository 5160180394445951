"""A step that is not watched waits for nothing: the recorder reads no tensor in it, neither by torch nor past it."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from modellint.recorder.session import Recorder

# What makes the host wait for the device. Some of it never reaches the dispatcher.
CALLS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__", "nonzero")
OPERATIONS = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "_to_copy", "item", "masked_select", "unique")


class Reads(TorchDispatchMode):
    """The operations that were made and need an answer from the device."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._overloadpacket.__name__ in OPERATIONS:
            self.made.append(func._overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def reads(monkeypatch):
    """The calls of tensors' methods that read them, in order."""
    made = []

    def noted(name, original):
        def call(tensor, *args, **kwargs):
            made.append(name)
            return original(tensor, *args, **kwargs)

        return call

    for name in CALLS:
        monkeypatch.setattr(torch.Tensor, name, noted(name, getattr(torch.Tensor, name)))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: made.append("synchronize"))
    return made


class Trained:
    """A model with all that a recorder listens to: clips, a scheduler, an evaluation, an embedding, a norm, a dropout."""

    def __init__(self, device="cpu"):
        torch.manual_seed(0)
        layers = nn.Embedding(11, 8), nn.Flatten(), nn.Linear(32, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.ReLU()
        self.model = nn.Sequential(*layers, nn.Linear(16, 5)).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.x = torch.randint(0, 11, (12, 4), device=device)
        self.y = (torch.arange(12) % 5).to(device)

    def step(self):
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(self.x), self.y).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


def rested(trained, steps=2):
    """A recorder whose first window is over, and which waits for what opens the next."""
    recorder = Recorder(lambda record: None, steps, windows=3)
    recorder.examines = False
    recorder.attach()
    recorder.add(trained.optimizer)
    for _ in range(steps):
        trained.step()
    assert recorder.phases.resting
    return recorder


def test_no_tensor_is_read_in_a_step_that_is_not_watched(reads):
    trained = Trained()
    with Reads() as bare:
        trained.step()
    own, _ = [*reads, *bare.made], reads.clear()
    recorder = rested(trained)
    watched, _ = list(reads), reads.clear()
    try:
        with Reads() as mode:
            trained.step()
            trained.step()
    finally:
        recorder.detach()
    assert watched, "the steps that are watched are read, or this test sees nothing"
    assert [*reads, *mode.made] == own * 2


@pytest.mark.cuda
def test_cuda_finds_no_synchronisation():
    trained = Trained("cuda")
    recorder = rested(trained)
    try:
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        trained.step()
        trained.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        recorder.detach()
