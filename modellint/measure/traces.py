"""What a probed command has left behind, its journals, its output and its stacks, and a Problem that quotes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modellint.core.diagnostic import Location, Problem
from modellint.core.plain import from_plain

from . import lines, records
from .child import LOG
from .records import Record, Records

QUOTED = 30  # lines of its output


class Traces:
    def __init__(self, journals: Sequence[Records], folder: Path) -> None:
        self.records, self.main = records.together(journals), records.main(journals)
        self.steps = self.main.steps()
        ranks = (journal for journal in journals if journal is self.main or journal.is_rank())
        self.broken = records.together(ranks).first("exception")  # of those that train, the one that broke first
        self.log = _text(folder / LOG)
        self._stacks = [text for file in sorted(folder.glob("stacks-*.txt")) if (text := _text(file))]
        self.is_watched = any(folder.glob("stacks-*.txt"))

    @property
    def count(self) -> str:
        return f"{self.steps or 'no'} training step{'s' * (self.steps != 1)}"

    @property
    def tail(self) -> str:
        return "\n".join(self.log.splitlines()[-QUOTED:])

    @property
    def stack(self) -> str:
        return "\n".join(self._stacks)[-4000:] or self.tail

    def where_it_was(self) -> Location:
        """The innermost line of the user in the stacks, which are written on request and by fatal signals."""
        found = (lines.user_lines(lines.current_thread(text)) for text in self._stacks)
        return next((stack[0] for stack in found if stack), Location())

    def left(self, **fields: bool) -> Location | None:
        """Where an exception left the training function."""
        return next((location(record) for record in self.records.of_kind("left", **fields)), None)

    def problem(self, message: str, place: Location | None = None, detail: str | None = None) -> Problem:
        at = f" at {place}" if place and place.line else ""
        return Problem(message + at, place or Location(), self.tail if detail is None else detail)


def location(record: Record) -> Location:
    return from_plain(Location, record["location"] or {})


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
