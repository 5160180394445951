"""Targets to Runs: each is trained in a process of its own, as many at once as there are processors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from modellint.cli.launching import launch_options
from modellint.core.record import replace
from modellint.measure import launch, signals
from modellint.measure.progress import Progress
from modellint.measure.run import Run


def trained(targets: Sequence[str], options: dict[str, Any]) -> list[Run]:
    """An interrupt ends those that are running; those that have not begun are left out."""
    asked, stop = launch_options(options), threading.Event()
    asked = replace(asked, progress=_until(stop, asked.progress))
    with signals.as_interrupts(), ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(launch.target, target, asked) for target in targets]
        try:
            wait(runs)
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return [run.result() for run in runs if not run.cancelled()]


def _until(stop: threading.Event, progress: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
    """The interrupt reaches the main thread alone: those that watch a process are told when they look."""

    def look(now: Progress) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        if progress is not None:
            progress(now)

    return look
