"""The records of all processes of a run, merged into one Run."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from modellint.core.plain import from_plain, to_plain

from .run import Run, Step

Record = Mapping[str, Any]
RUN_FILE = "run.json"


def load(path: Path) -> Run:
    """A run from its folder or its run.json; raises OSError or ValueError when it cannot be read."""
    return from_plain(Run, json.loads((path / RUN_FILE if path.is_dir() else path).read_text(encoding="utf-8")))


def save(run: Run, folder: Path) -> None:
    (folder / RUN_FILE).write_text(json.dumps(to_plain(run), allow_nan=False), encoding="utf-8")


def read(file: Path) -> list[Record]:
    """The whole lines of one process's journal; a last line that was cut off by a kill is left out."""
    return [
        json.loads(line) for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]


def merge(processes: Iterable[Sequence[Record]], **known: Any) -> Run:
    """The Run of the process that trained (of several ranks the first), with the files of all; `known` are further fields."""
    journals = list(processes)
    main = max(journals, key=_importance, default=())
    plain = {**_facts(main), "files": sorted(_files(journals))}
    return from_plain(Run, {**plain, **to_plain(known)})


def seconds(processes: Iterable[Sequence[Record]], began: float, now: float) -> dict[str, float]:
    """Wall-clock time until the first step was done, from there to the last, and in all."""
    at = [record["at"] for journal in processes for record in _of_kind(journal, "step")]
    return (
        {"start": min(at) - began, "steps": max(at) - min(at), "total": now - began} if at else {"total": now - began}
    )


def _files(journals: Iterable[Sequence[Record]]) -> set[str]:
    return {file for journal in journals for record in _of_kind(journal, "files") for file in record["files"]}


def _importance(journal: Sequence[Record]) -> tuple[bool, int, int]:
    steps = sum(record["kind"] == "step" for record in journal)
    rank = next((int(record["rank"] or 0) for record in journal if record["kind"] == "start"), 0)
    return steps > 0, -rank, steps + len(journal)


def _facts(journal: Sequence[Record]) -> dict[str, Any]:
    parameters = _last(journal, "parameters", [])
    names = {parameter["number"]: parameter["name"] for parameter in parameters}
    optimizers = [_named(record, names) for record in _of_kind(journal, "optimizer")]
    steps = list(_steps(journal, names))
    return {
        "steps": steps,
        "parameters": parameters,
        "optimizers": optimizers,
        "model": _last(journal, "model"),
        "loss": _last(journal, "loss"),
        "graph": _last(journal, "graph"),
        "classes": next((step["logits"]["classes"] for step in steps if step.get("logits")), None),
        "label_counts": _label_counts(journal),
        "places": {record["name"]: record["location"] for record in _of_kind(journal, "place") if record["location"]},
        "environment": _last(journal, "environment") or _last(journal, "start", {}, "environment"),
    }


def _of_kind(journal: Iterable[Record], kind: str) -> Iterator[Record]:
    return (record for record in journal if record["kind"] == kind)


def _last(journal: Iterable[Record], kind: str, default: Any = None, field: str | None = None) -> Any:
    found = [record[field or kind] for record in _of_kind(journal, kind)]
    return found[-1] if found else default


def _named(record: Record, names: Mapping[int, str]) -> dict[str, Any]:
    return {**record, "parameters": _names(record, names)}


def _names(record: Record, names: Mapping[int, str]) -> list[str]:
    """A process that was killed may not have told all names."""
    return [names.get(number, f"parameter_{number}") for number in record["parameters"]]


def _steps(journal: Sequence[Record], names: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    known = {field.name for field in fields(Step)}
    for record in _of_kind(journal, "step"):
        parameters = _names(record, names)
        step = {name: value for name, value in record.items() if name in known}
        for field in ("gradients", "gradients_at_step", "updates"):
            step[field] = dict(zip(parameters, record[field], strict=False))
        step["clips"] = [
            {**clip["clip"], "parameters": _names(clip, names)}
            for clip in _of_kind(journal, "clip")
            if (clip["optimizer"], clip["step"]) == (record["optimizer"], record["index"])
        ]
        step["non_finite"] = [*record.get("non_finite", ()), *_bad_tensors(step)]
        yield step


def _bad_tensors(step: Mapping[str, Any]) -> Iterator[str]:
    gradients = {name for field in ("gradients", "gradients_at_step") for name, norm in step[field].items() if _is_bad(norm)}
    yield from (f"gradient of {name}" for name in step["gradients"] if name in gradients)
    yield from (f"parameter {name}" for name, ratio in step["updates"].items() if _is_bad(ratio))


def _is_bad(value: float | str | None) -> bool:
    return value is not None and not math.isfinite(float(value))


def _label_counts(journal: Iterable[Record]) -> dict[int, int]:
    """Over the steps of the first optimizer that saw labels: a second one may have watched the same rows."""
    counts: dict[int, Counter[int]] = {}
    for record in _of_kind(journal, "step"):
        found = {int(label): count for label, count in record.get("label_counts", {}).items()}
        if found:
            counts.setdefault(record["optimizer"], Counter()).update(found)
    return dict(sorted(next(iter(counts.values()), Counter()).items()))
