"""How a probed command ended, in words: a status, and a Problem with the user's line where the probe fell short."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modellint.core.diagnostic import Location, Problem
from modellint.core.plain import from_plain

from .child import LOG, Ended

if TYPE_CHECKING:
    from .launch import Options

Record = Mapping[str, Any]
Outcome = tuple[str, Problem | None]
LIMITS = {"start": "before the first step", "step": "after a step", "total": "in all"}


def judge(journals: Sequence[Sequence[Record]], ended: Ended, folder: Path, options: Options) -> Outcome:
    """(status, problem) of a command whose processes left `journals` in `folder`."""
    records = [record for journal in journals for record in journal]
    facts = {
        kind: [r for r in records if r["kind"] == kind]
        for kind in ("end", "stopped", "exception", "exit", "step", "start")
    }
    tail = _tail(folder / LOG)
    if ended.not_found:
        return "failed", Problem(f"command not found: {ended.not_found}")
    if facts["stopped"]:
        return "stopped", _stopped(facts["stopped"][0])
    if any(record["reason"] == "steps" for record in facts["end"]) and not ended.interrupted:
        return "completed", None
    if ended.interrupted:
        return "failed", Problem(f"interrupted after {_count(facts)}", detail=tail)
    if ended.hung:
        return "hung", _hung(ended, facts, folder, options, tail)
    if facts["exception"]:
        return "failed", _crash(facts["exception"][0])
    if ended.code and ended.code < 0:
        return "failed", Problem(f"killed by {_signal(-ended.code)} after {_count(facts)}", detail=tail)
    if ended.code or (facts["exit"] and not facts["step"]):
        return "failed", _left(ended, facts, tail)
    if facts["step"]:
        return "completed", None
    return "no step", Problem(f"no training step seen: {_missing(records, folder)}", detail=tail)


def _stopped(record: Record) -> Problem:
    return Problem(
        f"stopped before {record['action']} {record['path']}, which existed before the run; --allow-writes lets it happen",
        _location(record),
    )


def _crash(record: Record) -> Problem:
    location = _location(record)
    if record["type"] == "ModuleNotFoundError" and record["message"] == "No module named 'torch'":
        return Problem(
            "this Python has no torch: name the one that has it with --python", location, record["traceback"]
        )
    first = record["message"].partition("\n")[0]
    return Problem(f"{record['type']}: {first} at {location}", location, record["traceback"])


def _left(ended: Ended, facts: Mapping[str, Sequence[Record]], tail: str) -> Problem:
    last = facts["exit"][-1] if facts["exit"] else {"location": {}, "message": ""}
    location = _location(last)
    place = f" at {location}" if location.line else ""
    text = f": {last['message']}" if last["message"] else ""
    return Problem(f"ended with exit code {ended.code}{place} after {_count(facts)}{text}", location, tail)


def _hung(ended: Ended, facts: Mapping[str, Sequence[Record]], folder: Path, options: Options, tail: str) -> Problem:
    seconds = {"start": options.start_seconds, "step": options.step_seconds, "total": options.max_seconds}[ended.hung]
    stack, location = _stack(folder)
    place = f" at {location}" if location.line else ""
    return Problem(
        f"no progress for {seconds:g} s {LIMITS[ended.hung]}{place}, after {_count(facts)}", location, stack or tail
    )


def _stack(folder: Path) -> tuple[str, Location]:
    """The stack of the process that hangs, and the user's innermost line in it."""
    from modellint.recorder import frames

    for file in sorted(folder.glob("stacks-*.txt")):
        text = file.read_text(encoding="utf-8", errors="replace")
        for path, line in re.findall(r'File "(.+?)", line (\d+)', text):
            if frames.user_path(path) is not None:
                return text[-4000:], Location(frames.user_path(path), int(line))
    return "", Location()


def _missing(records: Iterable[Record], folder: Path) -> str:
    kinds = {record["kind"] for record in records}
    if not any(folder.glob("stacks-*.txt")):
        return "no Python process took up the recorder (python -I, -E or -S, or no Python at all?)"
    if "start" not in kinds:
        return "torch was never imported"
    if "optimizer" not in kinds:
        return "no optimizer was made"
    return "backward() ran but no optimizer stepped" if "backward" in kinds else "no backward() was called"


def _count(facts: Mapping[str, Sequence[Record]]) -> str:
    count = len(facts["step"])
    return f"{count or 'no'} training step{'s' * (count != 1)}"


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _location(record: Record) -> Location:
    return from_plain(Location, record["location"] or {})


def _tail(log: Path, lines: int = 30) -> str:
    if not log.exists():
        return ""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
