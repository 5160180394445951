"""Re-runs within a budget of seconds: in parallel as far as the cores and the script allow, each told as it begins."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from modellint.core.record import dataclass, replace
from modellint.measure.forks import Forks
from modellint.measure.launch import Options, launch
from modellint.measure.run import Run

from .catalogue import Offer

SEED = "MODELLINT_SEED"
REMEDY = "MODELLINT_REMEDY"
SEEDS = 3


@dataclass(frozen=True, slots=True)
class Job:
    """One re-run: `offers` are what is tried in it, `why` the finding that asks for it."""

    offers: tuple[Offer, ...] = ()
    seed: int = 0
    why: str = ""

    @property
    def label(self) -> str:
        return " and ".join(offer.label for offer in self.offers) or "as found"


class Schedule:
    """`tell(job, number, seconds)` is called when a job begins; what no time is left for is None."""

    def __init__(
        self,
        command: Sequence[str],
        options: Options,
        budget: float,
        workers: int,
        tell: Callable[[Job, int, float], None],
    ) -> None:
        self._command, self._options, self._budget, self._tell = tuple(command), options, budget, tell
        self._began, self._workers, self._number = time.monotonic(), workers, 0
        self._forks: Forks | None = None

    def __enter__(self) -> Schedule:
        self._forks = Forks(self._command, replace(self._options, environment=environment(0)))
        return self

    def __exit__(self, *_: object) -> None:
        if self._forks is not None:
            self._forks.close()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def run(self, jobs: Sequence[Job]) -> list[Run | None]:
        """What was asked for; an interrupt ends the trying, and what was done until then counts."""
        with ThreadPoolExecutor(self._workers) as pool:
            futures = [pool.submit(self._run, job) for job in jobs]
            try:
                wait(futures)
            except KeyboardInterrupt:
                self._budget = 0.0
        return [future.result() for future in futures]

    def _run(self, job: Job) -> Run | None:
        left = self._budget - self.seconds
        if left <= 0:
            return None
        self._number += 1
        self._tell(job, self._number, self.seconds)
        options = replace(
            self._options,
            max_seconds=min(left, self._options.max_seconds),
            environment={**self._options.environment, **environment(job.seed, job.offers)},
            start=self._forks.start if self._forks is not None else None,
            run_dir=self._options.run_dir / f"proof-{self._number}" if self._options.run_dir else None,
        )
        run = launch(self._command, options)
        return None if run.status == "hung" and self.seconds >= self._budget else run


def environment(seed: int, offers: Sequence[Offer] = ()) -> dict[str, str]:
    remedies = [offer.applied for offer in offers]
    return {SEED: str(seed), REMEDY: json.dumps(remedies), "PYTHONHASHSEED": "0"}


def workers(run: Run) -> int:
    """Scripts that write files take turns: each may overwrite what the former has written."""
    return 1 if run.written else max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
