"""The line that tells how far a probe is: on a terminal alone, and never in CI."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = """\
import torch

model = torch.nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(torch.ones(2, 4)), torch.tensor([0, 1])).backward()
    optimizer.step()
"""


def shown(folder: Path, ci: str) -> str:
    """What a terminal gets of a probe."""
    (folder / "train.py").write_text(SCRIPT)
    terminal, side = pty.openpty()
    command = (sys.executable, "-m", "modellint", "probe", "--isolated", "train.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CI": ci}
    probe = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=side)
    os.close(side)
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError:  # the other side is closed
        pass
    os.close(terminal)
    assert probe.wait() < 2
    return b"".join(parts).decode()


def test_a_terminal_is_told_of_each_phase_and_is_left_clean(tmp_path: Path) -> None:
    text = shown(tmp_path, ci="")
    assert re.search(r"step \d+, loss \d[\d.]*, largest gradient \d[\d.]* \(\d+ s\)", text)
    assert text.endswith("\r\x1b[K")
    assert "\n" not in text


def test_ci_is_told_nothing(tmp_path: Path) -> None:
    assert shown(tmp_path, ci="true") == ""
