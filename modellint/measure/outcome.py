"""How a probed command ended, in words: a status, and a Problem with the user's line where the probe fell short."""

from __future__ import annotations

import itertools
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modellint.core.diagnostic import Location, Problem
from modellint.core.plain import from_plain

from . import lines, records
from .child import LOG, Ended
from .records import Record, Records

if TYPE_CHECKING:
    from .launch import Options

RANK_LOST = re.compile(
    r"rank\s*: (?P<rank>\d+).*\n\s*exitcode\s*: -(?P<signal>(?!15)\d+)"
)  # torchrun ends the rest by 15
NO_TORCH = "No module named 'torch'"


class Outcome:
    """`status` and `problem` as the Run has them."""

    def __init__(self, journals: Sequence[Records], ended: Ended, folder: Path, options: Options) -> None:
        self._records, self._main = records.together(journals), records.main(journals)
        self._steps = self._main.steps()
        ranks = (journal for journal in journals if journal is self._main or journal.is_rank())
        self._broken = records.together(ranks).first("exception")  # of those that train, the one that broke first
        self._ended, self._options = ended, options
        self._log = _text(folder / LOG)
        self._stacks = [text for file in sorted(folder.glob("stacks-*.txt")) if (text := _text(file))]
        self._watched = any(folder.glob("stacks-*.txt"))
        self.status, self.problem = self._judge()

    def _judge(self) -> tuple[str, Problem | None]:
        ended = self._ended
        if ended.not_found:
            return "failed", Problem(f"command not found: {ended.not_found}")
        if stopped := self._records.first("stopped"):
            return "stopped", self._stopped(stopped)
        if self._came_to_its_end() or (ended.hung == "total" and self._main.first("rest")):
            return "completed", None
        if ended.interrupted:
            return "failed", self._problem(f"interrupted after {self._count()}")
        if ended.hung and not self._broken:  # a thread that crashed leaves the others waiting
            return "failed" if ended.hung == "memory" else "hung", self._hung()
        if ended.code and (lost := RANK_LOST.search(self._log)):  # before what the others say of a lost connection
            what = f"rank {lost['rank']} was killed by {_signal(int(lost['signal']))} after {self._count()}"
            return "failed", self._problem(what)
        if crash := self._broken or ((ended.code or not self._steps) and self._records.first("exception")):
            return "failed", self._crash(crash)
        if ended.code:
            return "failed", self._failed(ended.code)
        return self._short() if self._steps else self._no_step()

    def _came_to_its_end(self) -> bool:
        """Whether all steps were watched; once one rank has ended, what happens to the others is our doing."""
        ends, crash = self._records.of_kind("end", reason="steps"), self._broken
        if not ends or (self._options.finish and (self._ended.code or self._ended.hung)):
            return False
        return crash is None or crash["at"] > ends[0]["at"]

    def _stopped(self, record: Record) -> Problem:
        what = f"{record['action']} {record['path']}, which existed before the run"
        return self._problem(f"stopped before {what}; --allow-writes lets it happen", _location(record), "")

    def _crash(self, record: Record) -> Problem:
        if record["type"] == "ModuleNotFoundError" and record["message"] == NO_TORCH:
            message = "no torch in the Python that runs this (--python names another one)"
            return self._problem(message, _location(record), record["traceback"])
        within = lines.user_lines(record["message"])  # a worker's traceback, as multiprocessing hands it on
        text = record["message"].strip().splitlines() or [""]
        named = f"{record['type']}: {text[0]}".rstrip(": .")
        message = text[-1] if within else named
        return self._problem(message, within[-1] if within else _location(record), record["traceback"])

    def _failed(self, code: int) -> Problem:
        if code < 0:
            return self._problem(
                f"killed by {_signal(-code)} after {self._count()}", self._where_it_was(), self._stack()
            )
        last = self._records.of_kind("exit")[-1:]
        said = [record["message"] for record in last if record["message"]]
        if not said and not self._steps:
            said = self._tail().split("\n")[-1:]
        logged = lines.user_lines(self._tail()) or [Location()]
        location = _location(last[0]) if last else self._left() or logged[-1]
        return self._problem(
            ": ".join([f"ended with exit code {code} after {self._count()}", *filter(None, said)]), location
        )

    def _hung(self) -> Problem:
        options = self._options
        limits = {
            "start": f"no training step within {options.start_seconds:g} s",
            "step": f"no further training step within {options.step_seconds:g} s",
            "total": f"not at its end within {options.max_seconds:g} s",
            "memory": f"more than {options.max_memory or 0:g} GiB of memory taken",
        }
        what = f"{limits[self._ended.hung]}, after {self._count()}"
        return self._problem(what, self._where_it_was(), self._stack())

    def _short(self) -> tuple[str, Problem | None]:
        """The command ended well by itself, with fewer steps than were asked for: was that its own will?"""
        stepping: list[list[Any]] = next(
            (record["stack"] for record in self._records.of_kind("place", name="step")), []
        )
        exits = self._records.since_last_step("exit")
        if exits and lines.same_loop(stepping, exits[-1]["stack"]):
            return "failed", self._problem(
                f"left the training loop by exit() after {self._count()}", _location(exits[-1])
            )
        if crashed := self._records.of_kind("thread", trained=True):
            return "failed", self._crash(crashed[-1])
        if location := self._left(caught=True):
            return "failed", self._swallowed(location)
        if self._steps < self._options.steps and (handler := lines.handler(stepping)):
            return "failed", self._problem(f"ended after {self._count()}; this `except` may hide why", handler)
        return "completed", None

    def _swallowed(self, location: Location) -> Problem:
        raised = self._records.since_last_step("raised")
        what = f"{raised[-1]['type']}: {raised[-1]['message']}" if raised else "an exception left the training function"
        return self._problem(f"{what}, and was swallowed after {self._count()}", location)

    def _no_step(self) -> tuple[str, Problem | None]:
        if thread := self._records.first("thread"):
            return "failed", self._crash(thread)
        if raised := self._records.first("raised"):
            message = f"no training step seen: {raised['type']}: {raised['message']}, and it was swallowed"
            return "no step", self._problem(message, _location(raised), raised["traceback"])
        if exits := self._records.of_kind("exit"):
            return "failed", self._problem("exit() before any training step", _location(exits[-1]))
        asked = (self._records.of_kind("place", name=name) for name in ("backward", "grad"))
        known = [*itertools.chain(*asked), *self._records.of_kind("optimizer")]
        place = _location(known[0]) if known else None
        return "no step", self._problem(f"no training step seen: {self._missing()}", place)

    def _missing(self) -> str:
        kinds = {record["kind"] for record in self._records}
        if not self._watched:
            return "no Python process took up the recorder (python -I, -E or -S, or no Python at all?)"
        if "start" not in kinds:
            return "torch was never imported"
        if self._records.of_kind("place", name="backward"):
            return "backward() ran but no parameter was updated"
        if self._records.of_kind("place", name="grad"):
            return "gradients were taken by autograd.grad() or torch.func, and nothing shows where they are applied"
        return "no backward() was called" if "optimizer" in kinds else "no optimizer was made and no backward() called"

    def _left(self, **fields: bool) -> Location | None:
        return next((_location(record) for record in self._records.of_kind("left", **fields)), None)

    def _where_it_was(self) -> Location:
        """The innermost line of the user in the stacks, which are written on request and by fatal signals."""
        found = (lines.user_lines(lines.current_thread(text)) for text in self._stacks)
        return next((stack[0] for stack in found if stack), Location())

    def _problem(self, message: str, location: Location | None = None, detail: str | None = None) -> Problem:
        place = f" at {location}" if location and location.line else ""
        return Problem(message + place, location or Location(), self._tail() if detail is None else detail)

    def _count(self) -> str:
        return f"{self._steps or 'no'} training step{'s' * (self._steps != 1)}"

    def _stack(self) -> str:
        return "\n".join(self._stacks)[-4000:] or self._tail()

    def _tail(self) -> str:
        return "\n".join(self._log.splitlines()[-30:])


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _signal(number: int) -> str:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return f"{name} (often: out of memory)" if name == "SIGKILL" else name


def _location(record: Record) -> Location:
    return from_plain(Location, record["location"] or {})
