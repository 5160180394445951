"""The options that every command shares which runs the user's code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from modellint.measure.launch import Options

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option("--python", metavar="EXE", help="The interpreter that has torch (default: that of modellint)."),
    click.option("--max-seconds", type=float, default=600.0, show_default=True, help="End the run after this time."),
    click.option("--start-seconds", type=float, default=300.0, show_default=True, help="Time until the first step."),
    click.option("--step-seconds", type=float, default=60.0, show_default=True, help="Time for each further step."),
    click.option("--max-memory", type=float, metavar="GIB", help="End the run when its processes take more memory."),
    click.option("--show-output", is_flag=True, help="Show the script's own output on standard error."),
    click.option("--allow-writes", is_flag=True, help="Let the run overwrite and delete files that existed before."),
    click.option("--sandbox", is_flag=True, help="Let it write what it likes, and throw that away (Linux)."),
    click.option("--keep-compile", is_flag=True, help="Leave torch.compile on; what is inside cannot be measured."),
    click.option("--synthetic-data", is_flag=True, help="Invent a torchvision data set that is not there."),
    click.option("--trackers", is_flag=True, help="Leave W&B, MLflow, Comet and the like on."),
    click.option("--examine/--no-examine", default=True, help="Run a copy of the model again after the last step."),
    click.option("--run-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep what was recorded there."),
)
NAMES = (
    "python",
    "max_seconds",
    "max_memory",
    "start_seconds",
    "step_seconds",
    "show_output",
    "allow_writes",
    "sandbox",
    "keep_compile",
    "synthetic_data",
    "trackers",
    "examine",
    "run_dir",
)


def launching(command: Command) -> Command:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def launch_options(options: dict[str, Any]) -> Options:
    from modellint.measure.launch import Options

    return Options(**{name: options[name] for name in (*NAMES, "steps", "windows", "finish") if name in options})
