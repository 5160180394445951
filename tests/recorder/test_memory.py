"""What a recorded step costs in memory, at its peak, beside the bare one, each in a process of its own; what stays of it."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from architectures import HEALTHY
from torch.nn.modules import module as module_hooks

from modellint.recorder.capture import Capture
from modellint.recorder.operation import tensors_in

BACKWARD = torch.Tensor.backward

SCRIPT = """\
import re
import sys
from pathlib import Path

import torch
from architectures import GPTBlock
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)


class Last(nn.Module):
    def forward(self, states):
        return states[0][:, -1]


def convolutions(width):
    return nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()


def transformer():
    return nn.Sequential(*(GPTBlock(256) for _ in range(4)), nn.Flatten(0, 1), nn.Linear(256, 512)), (8, 256, 256), 2048


def cnn():
    layers = (layer for _ in range(8) for layer in convolutions(32))
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 512)
    return nn.Sequential(nn.Conv2d(3, 32, 3), *layers, *head), (8, 3, 96, 96), 8


def lstm():
    return nn.Sequential(nn.LSTM(64, 256, 3, batch_first=True), Last(), nn.Linear(256, 512)), (32, 256, 64), 32


model, shape, rows = {"transformer": transformer, "cnn": cnn, "lstm": lstm}[sys.argv[2]]()
x, y = torch.randn(shape), torch.randint(0, 512, (rows,))


def step(model, x, y):
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    return loss


def peak():  # getrusage() also counts what the process was before exec()
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])


step(model, x[:1], y[: rows // len(x)])  # what the first step of a process needs besides
before = peak()
if sys.argv[1] == "recorded":
    from modellint.recorder.capture import Capture

    capture = Capture()
    capture.start()
    loss = step(model, x, y)
    assert capture.finish(loss, {id(p): name for name, p in model.named_parameters()}, model) is not None
    assert capture.errors == []
else:
    step(model, x, y)
print(peak() - before)
"""


def kilobytes(kind: str, model: str) -> int:
    here = Path(__file__).parent
    command = [sys.executable, "-c", SCRIPT, kind, model]
    path = {"PYTHONPATH": f"{here}:{here.parents[1]}"}
    done = subprocess.run(command, env=path, capture_output=True, text=True, timeout=300, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("model", ["transformer", "cnn", "lstm"])
def test_a_recorded_step_needs_at_most_a_fifth_more_memory(model: str) -> None:
    bare = kilobytes("bare", model)
    assert bare > 70_000, "the activations must be what is measured"
    assert kilobytes("recorded", model) <= 1.2 * bare


@pytest.mark.parametrize("name", ["resnet", "lstm", "gpt, tied"])
def test_nothing_of_a_recorded_step_stays(name: str) -> None:
    case, made = HEALTHY[name](), []

    def note(module: torch.nn.Module, _: object, result: object) -> None:
        made.extend(weakref.ref(tensor) for _, tensor in tensors_in(result))

    hooks = [module.register_forward_hook(note) for module in case.model.modules()]
    capture = Capture()
    capture.start()
    loss = case.loss()
    plain = capture.finish(loss, {id(p): name for name, p in case.model.named_parameters()}, case.model)
    loss.backward()
    assert plain is not None
    assert len(made) > 5
    gone = weakref.ref(capture)
    for hook in hooks:
        hook.remove()
    del capture, loss
    gc.collect()
    assert gone() is None
    assert [reference() for reference in made if reference() is not None] == []
    assert not module_hooks._global_forward_hooks
    assert not module_hooks._global_forward_pre_hooks
    assert torch.Tensor.backward is BACKWARD
