"""What went wrong with a probed command, in sentences: Problems with the user's line."""

from __future__ import annotations

import errno
import re
import signal
from typing import TYPE_CHECKING

from modellint.core.diagnostic import Location, Problem

from . import lines
from .child import GIB, UNWATCHED, Ended
from .records import Record
from .traces import Traces, location

if TYPE_CHECKING:
    from .launch import Options

KILLED = re.compile(r"killed by signal|exited unexpectedly|SIGKILL")
KILLED_BELOW = 128 + 9  # as a shell hands it on
LATE = "device-side assert"  # of a kernel, which the host learns of when it next asks
NO_TORCH = "No module named 'torch'"
NOBODY = "no Python process took up the recorder (python -I, -E or -S, another or no PYTHONPATH, or no Python at all?)"

INVENTED = (
    "--synthetic-data invents torchvision's MNIST, FashionMNIST, KMNIST, CIFAR, SVHN and ImageFolder, and no others"
)


class Account:
    def __init__(self, traces: Traces, ended: Ended, options: Options) -> None:
        self._traces, self._ended, self._options = traces, ended, options

    def stopped(self, record: Record) -> Problem:
        what = f"{record['action']} {record['path']}, which existed before the run"
        return self._traces.problem(f"stopped before {what}; --allow-writes lets it happen", location(record), "")

    def crash(self, record: Record) -> Problem:
        if record["type"] == "ModuleNotFoundError" and record["message"] == NO_TORCH:
            message = "no torch in the Python that runs this (--python names another one)"
            return self._traces.problem(message, location(record), record["traceback"])
        within = lines.user_lines(record["message"])  # a worker's traceback, as multiprocessing hands it on
        text = record["message"].strip().splitlines() or [""]
        named = f"{record['type']}: {text[0]}".rstrip(": .")
        message = (text[-1] if within else named) + self._of_the_options(named)
        if LATE in message:
            refused = self._traces.records.since_last_step("refused")
            if refused:
                what = f"{refused[-1]['message']}; the GPU says so at a later line: {message}"
                return self._traces.problem(what, location(refused[-1]), record["traceback"])
            message += "; an index was out of range at this line or before: CUDA_LAUNCH_BLOCKING=1 or a CPU names it"
        if KILLED.search(record["message"]):  # a worker, as torch says it
            message += self._starved()
        return self._traces.problem(message, within[-1] if within else location(record), record["traceback"])

    def lost(self, rank: str, number: int) -> Problem:
        return self._traces.problem(f"rank {rank} was killed by {self._signal(number)} after {self._traces.count}")

    def failed(self, code: int) -> Problem:
        traces = self._traces
        if code < 0:
            what = f"killed by {self._signal(-code)} after {traces.count}"
            return traces.problem(what, traces.where_it_was(), traces.stack)
        last = traces.records.of_kind("exit")[-1:]
        said = [record["message"] for record in last if record["message"]]
        if not said and not traces.steps:
            said = traces.tail.split("\n")[-1:]
        logged = lines.user_lines(traces.tail) or [Location()]
        place = location(last[0]) if last else traces.left() or logged[-1]
        starved = self._starved() if code == KILLED_BELOW else ""
        what = f"ended with exit code {code} after {traces.count}{starved}"
        return traces.problem(": ".join([what, *filter(None, said)]), place)

    def hung(self) -> Problem:
        options = self._options
        limits = {
            "start": f"no training step within {options.start_seconds:g} s",
            "step": f"no further training step within {options.step_seconds:g} s",
            "total": f"not at its end within {options.max_seconds:g} s",
            "memory": f"more than {options.max_memory or 0:g} GiB of memory taken",
            "unwatched": f"nothing to be watched for {UNWATCHED:g} s",
        }
        what = f"{limits[self._ended.hung]}, after {self._traces.count}"
        unseen = f"; {self._ended.unwatched}" if self._ended.unwatched and not self._traces.steps else ""
        return self._traces.problem(what + unseen, self._traces.where_it_was(), self._traces.stack)

    def swallowed(self, place: Location) -> Problem:
        raised = self._traces.records.since_last_step("raised")
        what = f"{raised[-1]['type']}: {raised[-1]['message']}" if raised else "an exception left the training function"
        return self._traces.problem(f"{what}, and was swallowed after {self._traces.count}", place)

    def missing(self) -> str:
        """Why there was no step, where nothing failed."""
        records = self._traces.records
        if self._ended.unwatched and not records.first("start"):
            return self._ended.unwatched
        if not self._traces.is_watched:
            return NOBODY
        if not records.first("start"):
            return "torch was never imported"
        if records.of_kind("place", name="backward"):
            return "backward() ran but no parameter was updated"
        if records.of_kind("place", name="grad"):
            return "gradients were taken by autograd.grad() or torch.func, and nothing that they were asked for has changed"
        made = records.first("optimizer")
        return "no backward() was called" if made else "no optimizer was made and no backward() called"

    def _signal(self, number: int) -> str:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        if name != "SIGKILL":
            return name
        return f"{name}{self._starved() or f' (often: out of memory; {self._held})'}"

    def _starved(self) -> str:
        return f": memory ran out ({self._held})" if self._ended.starved else ""

    def _of_the_options(self, message: str) -> str:
        """Within a user namespace the kernel can give a copy to no other group."""
        if self._options.sandbox and f"[Errno {errno.EOVERFLOW}]" in message:
            return ", for the sandbox cannot write a file of another group than your first"
        invented = self._traces.records.first("invented")
        return f"; {INVENTED}" if self._options.synthetic_data and not self._traces.steps and not invented else ""

    @property
    def _held(self) -> str:
        return f"its processes held up to {self._ended.memory / GIB:.3g} GiB"
