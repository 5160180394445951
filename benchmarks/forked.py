"""Probes of scripts in forks of one process that has torch already: a quarter of the time of a probe of their own.

The script runs under the recorder that a probe injects, as `__main__`, in a temporary copy of its folder, and ends with
its last watched step. The n-th seed adds n to every seed that the script sets.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch

from modellint import pipeline
from modellint.core import config
from modellint.core.diagnostic import Report
from modellint.core.plain import from_plain, to_plain
from modellint.measure import merge
from modellint.recorder import frames
from modellint.recorder.session import Recorder

SECONDS = 300  # of a script, on a busy machine


def warm() -> None:
    """Whatever torch and the rules import at their first use is there for all forks."""
    records: list[dict[str, Any]] = []
    recorder = Recorder(records.append, 3)
    recorder.attach()
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(0, 3, (8,))).backward()
        optimizer.step()
    _judged(records, 3)


def probe(script: Path, seed: int = 0, steps: int = 10, arguments: Sequence[str] = ()) -> Report:
    """The report of ten steps of `script`; raises RuntimeError with its traceback when it fails or makes no step."""
    script = script.resolve()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / script.parent.name
        shutil.copytree(script.parent, home, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        answer = Path(folder) / "report.json"
        child = os.fork()
        if not child:
            _run(home / script.name, seed, steps, arguments, answer)
        os.waitpid(child, 0)
        found = json.loads(answer.read_text()) if answer.exists() else {"error": f"{script} died"}
    if "error" in found:
        raise RuntimeError(found["error"])
    return from_plain(Report, found)


def _run(script: Path, seed: int, steps: int, arguments: Sequence[str], answer: Path) -> None:
    signal.alarm(SECONDS)
    records: list[dict[str, Any]] = []

    def leave() -> None:
        try:
            answer.write_text(json.dumps(_judged(records, steps)))
        finally:
            os._exit(0)

    try:
        os.chdir(script.parent)
        frames.START = str(script.parent)
        frames._seen.clear()
        _forget_own_modules()
        _silence()
        _shift_seeds(seed)
        sys.argv = [script.name, *arguments]
        sys.path.insert(0, str(script.parent))
        recorder = Recorder(records.append, steps, ended=leave)
        recorder.attach()
        runpy.run_path(script.name, run_name="__main__")
        recorder.flush()
    except BaseException:
        if not any(record["kind"] == "step" for record in records):
            answer.write_text(json.dumps({"error": traceback.format_exc()}))
            os._exit(1)
    leave()


def _judged(records: list[dict[str, Any]], steps: int) -> Any:
    if not any(record["kind"] == "step" for record in records):
        return {"error": "no training step"}
    if warnings := [record["message"] for record in records if record["kind"] == "warning"]:
        return {"error": f"the recorder: {warnings}"}
    run = merge.merge([records], requested_steps=steps)
    return to_plain(pipeline.judge(run, config.load(Path())))


def _forget_own_modules() -> None:
    """What this process has imported besides the libraries, such as tests, is no part of the script."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and not name.startswith("modellint") and frames.user_path(file) is not None:
            del sys.modules[name]


def _silence() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)


def _shift_seeds(seed: int) -> None:
    for owner, name in ((torch, "manual_seed"), (random, "seed"), (numpy.random, "seed")):
        setattr(owner, name, _shifted(getattr(owner, name), seed))
    generator = numpy.random.default_rng
    numpy.random.default_rng = lambda given=None: generator(given + seed if isinstance(given, int) else given)


def _shifted(function: Callable[..., Any], seed: int) -> Callable[..., Any]:
    return lambda given=None: function(given + seed if isinstance(given, int) else given)
