"""`check --target`: a model without a training script, run for a few steps in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FACTORIES = """\
import torch
from torch import nn

BATCH = (torch.randn(12, 8), torch.arange(12) % 4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.norm(self.body(x).relu()))


def healthy():
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    return {"model": model, "batch": BATCH, "loss": nn.CrossEntropyLoss(), "optimizer": optimizer}


def softmax():
    import modellint

    model = nn.Sequential(Net(), nn.Softmax(dim=-1))
    return modellint.Target(model, BATCH, nn.CrossEntropyLoss())


def broken():
    raise RuntimeError("no data here")


def waiting():
    import os, time

    with open(f"waits-{os.getpid()}", "w"):
        time.sleep(600)


def number():
    return 3


def no_model():
    return {"batch": BATCH}


def no_loss():
    return {"model": Net(), "batch": BATCH, "loss": lambda output, target: "none"}


def wrong_batch():
    return {"model": Net(), "batch": (torch.randn(3, 5), BATCH[1][:3]), "loss": nn.CrossEntropyLoss()}
"""


def line(function: str) -> int:
    return 1 + FACTORIES[: FACTORIES.index(f"def {function}(")].count("\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("target")
    (folder / "factories.py").write_text(FACTORIES)
    return folder


def check(folder: Path, target: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "modellint", "check", "--target", target, "--output-format", "json"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return result.returncode, json.loads(result.stdout), result.stderr


def test_a_mapping_is_trained_for_some_steps(folder: Path) -> None:
    code, report, _ = check(folder, "factories:healthy")
    assert code == 0
    assert report["run"]["steps"] == 10
    assert report["run"]["model"]["readout"] == "head"
    assert [d for d in report["diagnostics"] if d["severity"] != "note"] == []


def test_a_target_without_an_optimizer_is_differentiated_once(folder: Path) -> None:
    code, report, _ = check(folder, "factories:softmax")
    assert code == 1
    (finding,) = [d for d in report["diagnostics"] if d["rule"] == "softmax-before-loss"]
    assert finding["location"]["path"] == "factories.py"
    assert report["run"]["steps"] == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            "factories:broken",
            f"no data here at factories.py:{1 + FACTORIES[: FACTORIES.index('raise')].count(chr(10))}",
        ),
        ("factories:absent", "factories.py has no factory 'absent'"),
        (
            "factories:number",
            f"the factory gave int with no part: a model and a batch are needed at factories.py:{line('number')}",
        ),
        (
            "factories:no_model",
            f"gave dict with batch: a model and a batch are needed at factories.py:{line('no_model')}",
        ),
        ("factories:no_loss", f"a tensor of one number; it is str at factories.py:{line('no_loss')}"),
        ("factories:wrong_batch", f"cannot be multiplied (3x5 and 8x16) at factories.py:{line('forward') + 1}"),
        ("no_such_module:factory", "there is no module 'no_such_module'"),
        ("factories", "pkg.module:factory"),
    ],
)
def test_what_cannot_be_run_says_why(folder: Path, target: str, said: str) -> None:
    code, _, error = check(folder, target)
    assert code == 2
    assert said in error
    assert "recorder" not in error


def test_an_interrupt_ends_every_process_and_is_told(folder: Path) -> None:
    targets = ["--target", "factories:waiting"] * 3  # more than there may be processors
    command = [sys.executable, "-m", "modellint", "check", *targets, "--output-format", "json"]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waiting = eventually(lambda: list(folder.glob("waits-*")))
    running.send_signal(signal.SIGINT)
    out, error = running.communicate(timeout=120)
    assert running.returncode == 2, error
    assert "interrupted" in error
    assert "Traceback" not in error
    assert json.loads(out)["diagnostics"] == []
    eventually(lambda: not any(is_alive(int(path.name.partition("-")[2])) for path in waiting))


def eventually(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
