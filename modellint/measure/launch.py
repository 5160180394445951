"""A user's command to a Run: the command runs unchanged, with the recorder injected through its environment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import merge, outcome
from .child import Child
from .run import Run

HERE = Path(__file__).resolve().parent
RECORDER = HERE.parent / "recorder"
QUIET = {
    "TORCH_COMPILE_DISABLE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "PYTHONUNBUFFERED": "1",
    "WANDB_MODE": "disabled",
    "COMET_MODE": "DISABLED",
    "NEPTUNE_MODE": "offline",
    "CLEARML_OFFLINE_MODE": "1",
    "HF_MLFLOW_LOG_ARTIFACTS": "0",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How a command is probed. Seconds bound the time until the first step, each further step, and the whole run."""

    steps: int = 10
    python: str | None = None
    show_output: bool = False
    finish: bool = False
    allow_writes: bool = False
    start_seconds: float = 300.0
    step_seconds: float = 60.0
    max_seconds: float = 600.0
    run_dir: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def launch(command: Sequence[str], options: Options | None = None) -> Run:
    """Run `command` (a script alone is run by `options.python`) under the recorder; the Run is also saved in its folder."""
    options = options or Options()
    return _watch(_command(command, options), options)


def target(name: str, options: Options | None = None) -> Run:
    """Run some steps of what the factory `pkg.module:function` returns."""
    options = options or Options()
    return _watch((options.python or sys.executable, str(RECORDER / "target.py"), name), options)


def _command(command: Sequence[str], options: Options) -> tuple[str, ...]:
    python = (options.python or sys.executable,) if command[0].endswith(".py") else ()
    return (*python, *command)


def _watch(command: Sequence[str], options: Options) -> Run:
    folder = _new_folder(options)
    began = time.monotonic()
    child = Child(command, folder, _environment(folder, options), options)
    ended = child.watch()
    journals = [merge.read(file) for file in sorted(folder.glob("process-*.jsonl"))]
    status, problem = outcome.judge(journals, ended, folder, options)
    run = merge.merge(
        journals,
        command=tuple(command),
        requested_steps=options.steps,
        status=status,
        problem=problem,
        seconds={**child.seconds(), "total": time.monotonic() - began},
        folder=os.path.relpath(folder),
    )
    merge.save(run, folder)
    return run


def _new_folder(options: Options) -> Path:
    if options.run_dir is None:
        cache = Path(".modellint_cache").resolve()
        cache.mkdir(exist_ok=True)
        (cache / ".gitignore").write_text("*\n", encoding="utf-8")
        folder = cache / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    else:
        folder = options.run_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("process-*.jsonl"), *folder.glob("stacks-*.txt"), *folder.glob(merge.RUN_FILE)):
        old.unlink()
    return folder


def _environment(folder: Path, options: Options) -> dict[str, str]:
    paths = [str(HERE / "inject"), *filter(None, [os.environ.get("PYTHONPATH")])]
    probe = {
        "PYTHONPATH": os.pathsep.join(paths),
        "MODELLINT_FOLDER": str(folder),
        "MODELLINT_RECORDER": str(RECORDER),
        "MODELLINT_STEPS": str(options.steps),
        "MODELLINT_FINISH": str(int(options.finish)),
        "MODELLINT_ALLOW_WRITES": str(int(options.allow_writes)),
    }
    return {**QUIET, **os.environ, **options.environment, **probe}
