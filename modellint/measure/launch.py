"""A user's command to a Run: the command runs unchanged, with the recorder injected through its environment."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from modellint.core.record import dataclass, field

from . import environment, merge, records
from .child import Child
from .outcome import Outcome
from .processes import Command
from .progress import Progress
from .run import Run
from .sandbox import Sandbox
from .written import Written

CACHE = Path(".modellint_cache")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Options:
    """How a command is probed. Seconds bound the time until the first step, each further step, and the whole run."""

    steps: int = 10
    windows: int = 1
    python: str | None = None
    show_output: bool = False
    finish: bool = False
    examine: bool = True  # the model, after the last watched step
    allow_writes: bool = False
    sandbox: bool = False  # what is written is thrown away
    keep_compile: bool = False  # else torch.compile returns what it is given
    synthetic_data: bool = False  # torchvision's data sets are invented where they are not there
    trackers: bool = False  # W&B, MLflow, Comet and the like are left as they are
    start_seconds: float = 300.0
    step_seconds: float = 60.0
    max_seconds: float = 600.0
    max_memory: float | None = None  # GiB, over all processes of the run
    run_dir: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[Progress], None] | None = None  # called some twenty times a second
    start: Callable[[Mapping[str, str], Path], Command] | None = None  # begins the command; its output goes to the path


def launch(command: Sequence[str], options: Options | None = None) -> Run:
    """Run `command` (a script alone is run by `options.python`) under the recorder; the Run is saved in its folder."""
    options = options or Options()
    return _probe(words(command, options), options)


def words(command: Sequence[str], options: Options) -> tuple[str, ...]:
    python = (options.python or sys.executable,) if command[0].endswith(".py") else ()
    return (*python, *command)


def target(name: str, options: Options | None = None) -> Run:
    """Run some steps of what the factory `pkg.module:function` returns."""
    options = options or Options()
    return _probe((options.python or sys.executable, str(environment.RECORDER / "target.py"), name), options)


def _probe(command: Sequence[str], options: Options) -> Run:
    cache = _cache()
    folder, began = new_folder(options, cache), time.time()
    written = Written(folder, cache)
    written.allow()
    with Sandbox((cache, folder)) if options.sandbox else contextlib.nullcontext() as sandbox:
        given = environment.carried(command), folder, environment.of(folder, options), options
        ended = Child(*given, sandbox).watch()
        discarded = {} if sandbox is None else sandbox.discarded()
    journals = records.read(folder)
    outcome = Outcome(journals, ended, folder, options)
    run = merge.merge(
        journals,
        command=tuple(command),
        requested_steps=options.steps,
        status=outcome.status,
        problem=outcome.problem,
        written=() if options.sandbox else tuple(os.path.relpath(path) for path in written.files()),
        discarded=discarded,
        seconds=records.seconds(records.main(journals), began, time.time()),
        folder=os.path.relpath(folder),
    )
    if not options.sandbox:  # there a file of the user's may be deleted and made anew
        written.remember()
    merge.save(run, folder)
    return run


def _cache() -> Path:
    """In the current directory, or where that cannot be written a temporary one."""
    try:
        CACHE.mkdir(exist_ok=True)
        (CACHE / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError:
        return Path(tempfile.mkdtemp(prefix="modellint-")).resolve()
    return CACHE.resolve()


def new_folder(options: Options, cache: Path) -> Path:
    folder = options.run_dir or cache / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{next(_numbers)}"
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("process-*.jsonl", "stacks-*.txt", merge.RUN_FILE):
        for old in folder.glob(pattern):
            old.unlink()
    return folder.resolve()
