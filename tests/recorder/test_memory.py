"""What a recorded step costs in memory, at its peak, beside the bare one: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """\
import re
import sys
from pathlib import Path

import torch
from architectures import GPTBlock
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(*(GPTBlock(256) for _ in range(4)), nn.Linear(256, 512))
x, y = torch.randn(8, 256, 256), torch.randint(0, 512, (8 * 256,))


def step(model, x, y):
    loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y)
    loss.backward()
    return loss


def peak():  # getrusage() also counts what the process was before exec()
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])


step(model[:1], x[:1, :, :], y[:256] % 256)  # what the first step of a process needs besides
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


def kilobytes(kind: str) -> int:
    here = Path(__file__).parent
    command = [sys.executable, "-c", SCRIPT, kind]
    path = {"PYTHONPATH": f"{here}:{here.parents[1]}"}
    done = subprocess.run(command, env=path, capture_output=True, text=True, timeout=300, check=True)
    return int(done.stdout)


def test_a_recorded_step_needs_at_most_a_fifth_more_memory() -> None:
    bare = kilobytes("bare")
    assert bare > 100_000, "the activations must be what is measured"
    assert kilobytes("recorded") <= 1.2 * bare
