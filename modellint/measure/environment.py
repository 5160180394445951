"""The environment of a probed command: it carries the recorder, and switches off what belongs to a real run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .unwatched import INJECT

if TYPE_CHECKING:
    from .launch import Options

RECORDER = Path(__file__).resolve().parent.parent / "recorder"
PATH = "PYTHONPATH"
EAGER = {"TORCH_COMPILE_DISABLE": "1", "TORCHDYNAMO_DISABLE": "1"}
UNTRACKED = {
    "WANDB_MODE": "disabled",
    "COMET_AUTO_LOG_DISABLE": "1",
    "NEPTUNE_MODE": "offline",
    "CLEARML_OFFLINE_MODE": "1",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # below the folder of the run, see `of`
}


def of(folder: Path, options: Options) -> dict[str, str]:
    """What the user has set stays, but for an address of MLflow, which would be written to."""
    theirs = {**os.environ, **options.environment}
    if not options.keep_compile:
        theirs = {**EAGER, **theirs}
    if not options.trackers:
        theirs = {**UNTRACKED, **theirs, "MLFLOW_TRACKING_URI": (folder / "mlflow").as_uri()}
    probe = {
        PATH: _first(theirs.get(PATH, "")),
        "MODELLINT_FOLDER": str(folder),
        "MODELLINT_RECORDER": str(RECORDER),
        "MODELLINT_STEPS": str(options.steps),
        "MODELLINT_WINDOWS": str(options.windows),
        "MODELLINT_FINISH": str(int(options.finish)),
        "MODELLINT_EXAMINE": str(int(options.examine)),
        "MODELLINT_KEEP_COMPILE": str(int(options.keep_compile)),
        "MODELLINT_INVENT": str(int(options.synthetic_data)),
        "MODELLINT_ALLOW_WRITES": str(int(options.allow_writes or options.sandbox)),
    }
    return {"PYTHONUNBUFFERED": "1", **theirs, **probe}


def carried(command: Sequence[str]) -> tuple[str, ...]:
    """The command; where it sets PYTHONPATH itself (`env PYTHONPATH=src python train.py`), the recorder is kept in it."""
    before = [*itertools.takewhile(lambda word: not _is_program(word), command)]
    return (*_kept(before), *command[len(before) :])


def _kept(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        name, assigned, value = word.partition("=")
        yield f"{PATH}={_first(value)}" if assigned and name == PATH else word


def _is_program(word: str) -> bool:
    return os.path.basename(word).startswith("python") or word.endswith(".py")


def _first(path: str) -> str:
    return os.pathsep.join(filter(None, (INJECT, path)))
