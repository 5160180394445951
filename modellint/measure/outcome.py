"""How a probed command ended: a status, and a Problem where the probe fell short."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modellint.core.diagnostic import Problem

from . import lines
from .account import Account
from .child import Ended
from .records import Records
from .traces import Traces, location

if TYPE_CHECKING:
    from .launch import Options

# torchrun ends the other ranks by SIGTERM.
RANK_LOST = re.compile(r"rank\s*: (?P<rank>\d+).*\n\s*exitcode\s*: -(?P<signal>(?!15)\d+)")


class Outcome:
    """`status` and `problem` as the Run has them."""

    def __init__(self, journals: Sequence[Records], ended: Ended, folder: Path, options: Options) -> None:
        self._traces, self._ended, self._options = Traces(journals, folder), ended, options
        self._records, self._steps = self._traces.records, self._traces.steps
        self._account = Account(self._traces, ended, options)
        self.status, self.problem = self._judge()

    def _judge(self) -> tuple[str, Problem | None]:
        ended, traces, account = self._ended, self._traces, self._account
        if ended.not_found:
            hint = (
                "; of a notebook, `jupyter nbconvert --to script` makes a script"
                if _is_notebook(ended.not_found)
                else ""
            )
            return "failed", Problem(f"command not found: {ended.not_found}{hint}")
        if stopped := self._records.first("stopped"):
            return "stopped", account.stopped(stopped)
        if self._came_to_its_end() or (ended.hung == "total" and traces.main.first("rest")):
            return "completed", None
        if ended.interrupted:
            return "failed", traces.problem(f"interrupted after {traces.count}")
        if ended.hung and not traces.broken:  # a thread that crashed leaves the others waiting
            return "failed" if ended.hung == "memory" else "hung", account.hung()
        if ended.code and (lost := RANK_LOST.search(traces.log)):  # before what the others say of a lost connection
            return "failed", account.lost(lost["rank"], int(lost["signal"]))
        if crash := traces.broken or ((ended.code or not self._steps) and self._records.first("exception")):
            return "failed", account.crash(crash)
        if ended.code:
            return "failed", account.failed(ended.code)
        return self._short() if self._steps else self._no_step()

    def _came_to_its_end(self) -> bool:
        """Whether all steps were watched; once one rank has ended, what happens to the others is our doing."""
        ends, crash = self._records.of_kind("end", reason="steps"), self._traces.broken
        if not ends or (self._options.finish and (self._ended.code or self._ended.hung)):
            return False
        return crash is None or crash["at"] > ends[0]["at"]

    def _short(self) -> tuple[str, Problem | None]:
        """The command ended well by itself, with fewer steps than were asked for: was that its own will?"""
        made: list[list[list[Any]]] = [record["stack"] for record in self._records.of_kind("place", name="step")]
        stepping = next(iter(made), [])
        exits = self._records.since_last_step("exit")
        if exits and lines.same_loop(stepping, exits[-1]["stack"]):
            what = f"left the training loop by exit() after {self._traces.count}"
            return "failed", self._traces.problem(what, location(exits[-1]))
        if crashed := self._records.of_kind("thread", trained=True):
            return "failed", self._account.crash(crashed[-1])
        if place := self._traces.left(caught=True):
            return "failed", self._account.swallowed(place)
        if self._steps < self._options.steps and (handler := lines.handler(stepping)):
            what = f"ended after {self._traces.count}; this `except` may hide why"
            return "failed", self._traces.problem(what, handler)
        return "completed", None

    def _no_step(self) -> tuple[str, Problem | None]:
        if thread := self._records.first("thread"):
            return "failed", self._account.crash(thread)
        if raised := self._records.first("raised"):
            message = f"no training step seen: {raised['type']}: {raised['message']}, and it was swallowed"
            return "no step", self._traces.problem(message, location(raised), raised["traceback"])
        if exits := self._records.of_kind("exit"):
            return "failed", self._traces.problem("exit() before any training step", location(exits[-1]))
        asked = (self._records.of_kind("place", name=name) for name in ("backward", "grad"))
        known = [*itertools.chain(*asked), *self._records.of_kind("optimizer")]
        place = location(known[0]) if known else None
        return "no step", self._traces.problem(f"no training step seen: {self._account.missing()}", place)


def _is_notebook(command: str) -> bool:
    return command.endswith(".ipynb")
