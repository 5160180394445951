"""What the processes of a run have recorded, as one journal a process."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]


def read(folder: Path) -> list[Records]:
    """The journals in the folder of a run; a last line that was cut off by a kill is left out."""
    texts = (file.read_text(encoding="utf-8") for file in sorted(folder.glob("process-*.jsonl")))
    return [
        Records(json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")) for text in texts
    ]


class Records(Sequence[Record]):
    """Records in the order of time; in-process ones carry none and stay in theirs."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = sorted(records, key=lambda record: float(record.get("at", 0.0)))

    def __getitem__(self, index: Any) -> Any:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def of_kind(self, kind: str, **fields: Any) -> list[Record]:
        found = (record for record in self._records if record["kind"] == kind)
        return [record for record in found if all(record[name] == value for name, value in fields.items())]

    def first(self, kind: str) -> Record | None:
        return next(iter(self.of_kind(kind)), None)

    def last(self, kind: str, default: Any = None) -> Any:
        """The content of the last record of a kind: the field of the same name."""
        found = self.of_kind(kind)
        return found[-1][kind] if found else default

    def since_last_step(self, kind: str) -> list[Record]:
        steps = self.of_kind("step")
        return [record for record in self.of_kind(kind) if not steps or record["at"] >= steps[-1]["at"]]

    def steps(self) -> int:
        """The number of steps of the optimizer that has made most."""
        return max(Counter(record["optimizer"] for record in self.of_kind("step")).values(), default=0)

    def rank(self) -> int:
        """The process's number among those that train together, as it knew itself or was told by its launcher."""
        told = [step["ranks"]["rank"] for step in self.of_kind("step") if "ranks" in step]
        start = self.first("start")
        return int(told[0] if told else start["rank"] or 0 if start else 0)

    def is_rank(self) -> bool:
        """Whether it is of a process that a launcher started, or that found itself, to train together with others."""
        start = self.first("start")
        return bool(start and start["rank"]) or any("ranks" in step for step in self.of_kind("step"))


def together(journals: Iterable[Records]) -> Records:
    return Records(record for journal in journals for record in journal)


def main(journals: Sequence[Records]) -> Records:
    """The journal of the process that trained; of several ranks the first."""
    return max(journals, key=lambda journal: (journal.steps() > 0, -journal.rank(), len(journal)), default=Records(()))


def seconds(records: Records, began: float, now: float) -> Mapping[str, float]:
    """Wall-clock time until the first step was done, from there to the last, and in all."""
    at = [record["at"] for record in records.of_kind("step")]
    steps = {"start": at[0] - began, "steps": at[-1] - at[0]} if at else {}
    return {**steps, "total": now - began}


def label_counts(records: Records) -> dict[int, int]:
    """Over the steps of the first optimizer that saw labels: a second one may have watched the same rows."""
    seen = [record for record in records.of_kind("step") if record.get("label_counts")]
    return dict(sorted(_counted(record for record in seen if record["optimizer"] == seen[0]["optimizer"])))


def _counted(steps: Iterable[Record]) -> Iterator[tuple[int, int]]:
    counts: Counter[int] = Counter()
    for step in steps:
        counts.update({int(label): count for label, count in step["label_counts"].items()})
    yield from counts.items()
