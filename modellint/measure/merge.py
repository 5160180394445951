"""The records of all processes of a run, merged into one Run; and the Run to its file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modellint.core.plain import from_plain, to_plain

from . import ranks, records
from .records import Record, Records
from .run import Run
from .step import Step

RUN_FILE = "run.json"


def save(run: Run, folder: Path) -> None:
    (folder / RUN_FILE).write_text(json.dumps(to_plain(run), allow_nan=False), encoding="utf-8")


def merge(processes: Iterable[Iterable[Record]], **known: Any) -> Run:
    """The Run of the process that trained (of several ranks the first), with the files of all; `known` are more."""
    journals = [Records(process) for process in processes]
    files = {file for record in records.together(journals).of_kind("files") for file in record["files"]}
    hosts = dict.fromkeys(record["host"] for record in records.together(journals).of_kind("network"))
    facts = {**_facts(records.main(journals), journals), "files": sorted(files), "network": list(hosts)}
    return from_plain(Run, {**facts, **to_plain(known)})


def _facts(journal: Records, journals: Sequence[Records]) -> dict[str, Any]:
    parameters = journal.last("parameters", [])
    names = {parameter["number"]: parameter["name"] for parameter in parameters}
    steps = [_step(record, journal, names) for record in ranks.steps(journal, journals)]
    return {
        "steps": steps,
        "parameters": parameters,
        "optimizers": [_optimizer(record, journal, names) for record in journal.of_kind("optimizer")],
        "model": journal.last("model"),
        "loss": journal.last("loss"),
        "graph": _graph(journal.last("graph"), parameters, steps),
        "examinations": journal.of_kind("examination"),
        "classes": next((step["logits"]["classes"] for step in steps if step.get("logits")), None),
        "label_counts": records.label_counts(journal),
        "places": {record["name"]: record["location"] for record in journal.of_kind("place") if record["location"]},
        "ranks": ranks.world(journal),
        "windows": [{}, *(record["window"] for record in journal.of_kind("window"))],
        "evaluations": list(_evaluations(journal)),
        "followers": list(_followers(journal)),
        "bystanders": journal.last("bystanders", []),
        "environment": journal.last("environment", {}),
        "invented": list(dict.fromkeys(record["name"] for record in journal.of_kind("invented"))),
        "remedies": [record["name"] for record in journal.of_kind("remedy")],
    }


def _graph(graph: Record | None, parameters: Iterable[Record], steps: Sequence[Record]) -> Record | None:
    """The recorded graph, with what the whole run knows of its parameters: who holds them, what reached them."""
    if graph is None:
        return None
    known = {parameter["number"]: parameter for parameter in parameters}
    owned = [(each, known.get(each["number"], {})) for each in graph.get("parameters", ())]
    joined = [
        {**each, "optimizer": held.get("optimizer"), "reached": _reached(held.get("name"), steps)}
        for each, held in owned
    ]
    return {**graph, "parameters": joined}


def _reached(name: str | None, steps: Iterable[Record]) -> bool | None:
    """Whether a gradient came in any of the steps whose optimizer holds the parameter; None where there is none."""
    seen = [step["gradients"][name] for step in steps if name in step["gradients"]]
    return any(norm is not None for norm in seen) if seen else None


def _evaluations(journal: Records) -> Iterator[Record]:
    of_steps = {record["number"] for record in journal.of_kind("no evaluation")}
    found = journal.of_kind("evaluation")
    yield from (record["evaluation"] for record in found if record["number"] not in of_steps)


def _followers(journal: Records) -> Iterator[Record]:
    found: dict[tuple[int, int], list[Record]] = {}
    for step in journal.of_kind("step"):
        for each in step.get("followers", ()):
            found.setdefault((step["optimizer"], each["number"]), []).append(each)
    for (optimizer, _), moves in found.items():
        rates, pulls = ([each[name] for each in moves] for name in ("rate", "pull"))
        stepped = sum(each["stepped"] for each in moves)
        yield {"name": moves[0]["name"], "optimizer": optimizer, "rates": rates, "pulls": pulls, "stepped": stepped}


def _optimizer(record: Record, journal: Records, names: Mapping[int, str]) -> dict[str, Any]:
    reached = journal.of_kind("reached", optimizer=record["index"])
    backwards = reached[-1]["backwards"] if reached else None
    held = _names(record, names)
    counts: Counter[int] = Counter(record["parameters"])
    repeated = [
        name for number, name in dict(zip(record["parameters"], held, strict=True)).items() if counts[number] > 1
    ]
    return {**record, "parameters": held, "repeated": repeated, "backwards": backwards}


def _names(record: Record, names: Mapping[int, str]) -> list[str]:
    """A process that was killed may not have told all names."""
    return [names.get(number, f"parameter_{number}") for number in record["parameters"]]


def _step(record: Record, journal: Records, names: Mapping[int, str]) -> dict[str, Any]:
    parameters = _names(record, names)
    norms = {
        field: dict(zip(parameters, record[field], strict=False))
        for field in ("gradients", "gradients_at_step", "updates", "weights")
    }
    zero = {
        names.get(int(number), f"parameter_{number}"): share for number, share in record.get("zero_units", {}).items()
    }
    clips = journal.of_kind("clip", optimizer=record["optimizer"], step=record["index"])
    return {
        **{name: record[name] for name in Step.__match_args__ if name in record},
        **norms,
        "apart": ranks.apart(record, parameters),
        "zero_units": zero,
        "clips": [{**clip["clip"], "parameters": _names(clip, names)} for clip in clips],
        "non_finite": [*record.get("non_finite", ()), *_bad_tensors(parameters, norms)],
    }


def _bad_tensors(names: Sequence[str], norms: Mapping[str, Record]) -> Iterator[str]:
    for name in names:
        if _is_bad(norms["gradients"].get(name)) or _is_bad(norms["gradients_at_step"].get(name)):
            yield f"gradient of {name}"
    yield from (f"parameter {name}" for name in names if _is_bad(norms["updates"].get(name)))


def _is_bad(value: float | str | None) -> bool:
    return value is not None and not math.isfinite(float(value))
