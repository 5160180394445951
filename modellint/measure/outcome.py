"""How a probed command ended, in words: a status, and a Problem with the user's line where the probe fell short."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modellint.core.diagnostic import Location, Problem
from modellint.core.plain import from_plain

from . import lines
from .child import LOG, Ended

if TYPE_CHECKING:
    from .launch import Options

Record = Mapping[str, Any]
LIMITS = {"start": "before the first step", "step": "after a step", "total": "in all"}
NO_TORCH = "No module named 'torch'"


class Outcome:
    """Everything that is known of the end of a command; `status` and `problem` say what it means."""

    def __init__(self, journals: Sequence[Sequence[Record]], ended: Ended, folder: Path, options: Options) -> None:
        self._ended, self._folder, self._options = ended, folder, options
        self._steps = max((n for journal in journals for n in _steps(journal).values()), default=0)
        self._records = sorted(chain.from_iterable(journals), key=lambda record: float(record["at"]))
        self.status, self.problem = self._judge()

    def _judge(self) -> tuple[str, Problem | None]:
        ended = self._ended
        if ended.not_found:
            return "failed", Problem(f"command not found: {ended.not_found}")
        if stopped := self._first("stopped"):
            return "stopped", self._stopped(stopped)
        if self._all("end", reason="steps") and not (self._options.finish and (ended.code or ended.hung)):
            return "completed", None
        if ended.interrupted:
            return "failed", self._problem(f"interrupted after {self._count()}")
        if ended.hung:
            return "hung", self._hung()
        if crash := self._first("exception"):
            return "failed", self._crash(crash)
        if ended.code:
            return "failed", self._failed(ended.code)
        return self._short() if self._steps else self._no_step()

    def _stopped(self, record: Record) -> Problem:
        what = f"{record['action']} {record['path']}, which existed before the run"
        return self._problem(f"stopped before {what}; --allow-writes lets it happen", _location(record), "")

    def _crash(self, record: Record) -> Problem:
        if record["type"] == "ModuleNotFoundError" and record["message"] == NO_TORCH:
            return self._problem(
                "this Python has no torch: --python names one that has it", _location(record), record["traceback"]
            )
        within = lines.user_lines(record["message"])  # a worker's traceback, as multiprocessing hands it on
        text = record["message"].strip().splitlines() or [""]
        message = text[-1] if within else f"{record['type']}: {text[0]}"
        return self._problem(message, within[-1] if within else _location(record), record["traceback"])

    def _failed(self, code: int) -> Problem:
        if code < 0:
            return self._problem(
                f"killed by {_signal(-code)} after {self._count()}", self._where_it_was(), self._stacks()
            )
        last = self._all("exit")[-1:]
        text = "".join(f": {record['message']}" for record in last if record["message"])
        logged = lines.user_lines(self._tail()) or [Location()]
        location = _location(last[0]) if last else self._left() or logged[-1]
        return self._problem(f"ended with exit code {code} after {self._count()}{text}", location)

    def _hung(self) -> Problem:
        options = self._options
        seconds = {"start": options.start_seconds, "step": options.step_seconds, "total": options.max_seconds}
        limit = f"{seconds[self._ended.hung]:g} s {LIMITS[self._ended.hung]}"
        return self._problem(
            f"no progress for {limit}, after {self._count()}", self._where_it_was(), self._stacks() or self._tail()
        )

    def _short(self) -> tuple[str, Problem | None]:
        """The command ended well by itself, with fewer steps than were asked for: was that its own will?"""
        stepping = next((record["stack"] for record in self._all("place", name="step")), [])
        last = self._records_after_steps("exit")
        if last and lines.same_loop(stepping, last[-1]["stack"]):
            return "failed", self._problem(
                f"left the training loop by exit() after {self._count()}", _location(last[-1])
            )
        if location := self._left():
            return "failed", self._swallowed(location)
        handler = lines.swallows(*stepping[0]) if stepping and self._steps < self._options.steps else None
        if handler is not None:
            place = Location(stepping[0][0], handler)
            return "failed", self._problem(f"ended after {self._count()}; this `except` may hide why", place)
        return "completed", None

    def _swallowed(self, location: Location) -> Problem:
        raised = self._records_after_steps("raised")
        what = f"{raised[-1]['type']}: {raised[-1]['message']}" if raised else "an exception left the training function"
        return self._problem(f"{what}, and was swallowed after {self._count()}", location)

    def _no_step(self) -> tuple[str, Problem | None]:
        if raised := self._first("raised"):
            message = f"no training step seen: {raised['type']}: {raised['message']}, and it was swallowed"
            return "no step", self._problem(message, _location(raised), raised["traceback"])
        if exits := self._all("exit"):
            return "failed", self._problem("exit() before any training step", _location(exits[-1]))
        places = {record["name"]: _location(record) for record in self._all("place")}
        return "no step", self._problem(
            f"no training step seen: {self._missing()}", places.get("backward") or self._maker()
        )

    def _missing(self) -> str:
        if not any(self._folder.glob("stacks-*.txt")):
            return "no Python process took up the recorder (python -I, -E or -S, or no Python at all?)"
        if not self._all("start"):
            return "torch was never imported"
        if not self._all("optimizer"):
            return "no optimizer was made"
        return (
            "backward() ran but no optimizer stepped"
            if self._all("place", name="backward")
            else "no backward() was called"
        )

    def _maker(self) -> Location:
        maker = self._first("optimizer")
        return _location(maker) if maker else Location()

    def _left(self) -> Location | None:
        return next((_location(record) for record in self._all("left") if record["raised"]), None)

    def _where_it_was(self) -> Location:
        """The innermost line of the user in the stacks: they are written on request and by fatal signals."""
        stacks = [lines.current_thread(text) for text in self._stack_texts()]
        return next((found[0] for found in map(lines.user_lines, stacks) if found), Location())

    def _stacks(self) -> str:
        return "\n".join(self._stack_texts())[-4000:]

    def _stack_texts(self) -> list[str]:
        files = sorted(self._folder.glob("stacks-*.txt"))
        return [text for file in files if (text := file.read_text(encoding="utf-8", errors="replace"))]

    def _problem(self, message: str, location: Location | None = None, detail: str | None = None) -> Problem:
        place = f" at {location}" if location and location.line else ""
        return Problem(message + place, location or Location(), self._tail() if detail is None else detail)

    def _all(self, kind: str, **fields: str) -> list[Record]:
        matching = (record for record in self._records if record["kind"] == kind)
        return [record for record in matching if all(record[name] == value for name, value in fields.items())]

    def _first(self, kind: str) -> Record | None:
        return next(iter(self._all(kind)), None)

    def _records_after_steps(self, kind: str) -> list[Record]:
        last = self._all("step")[-1]["at"]
        return [record for record in self._all(kind) if record["at"] >= last]

    def _count(self) -> str:
        return f"{self._steps or 'no'} training step{'s' * (self._steps != 1)}"

    def _tail(self) -> str:
        log = self._folder / LOG
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-30:])


def _steps(journal: Sequence[Record]) -> Counter[int]:
    return Counter(record["optimizer"] for record in journal if record["kind"] == "step")


def _signal(number: int) -> str:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return f"{name} (often: out of memory)" if name == "SIGKILL" else name


def _location(record: Record) -> Location:
    return from_plain(Location, record["location"] or {})
