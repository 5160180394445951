"""The steps of processes that train together, put together: norms over all ranks, and how far these are apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .records import Record, Records

Numbers = Sequence[float | None]


def world(journal: Records) -> int:
    """How many processes trained together with that of `journal`."""
    return next((int(step["ranks"]["world"]) for step in journal.of_kind("step") if "ranks" in step), 1)


def steps(main: Records, journals: Iterable[Records]) -> Iterator[Record]:
    """The steps of `main`; those that it made together with other ranks as they were over all ranks."""
    found = [journal for journal in journals if journal is not main and world(journal) == world(main) > 1]
    peers = [{_place(step): step for step in journal.of_kind("step")} for journal in found]
    for step in main.of_kind("step"):
        others = [peer[_place(step)] for peer in peers if _place(step) in peer]
        yield _together(step, [step, *others]) if "ranks" in step else step


def apart(record: Record, names: Sequence[str]) -> dict[str, float]:
    """Step.apart, of a step that `steps` has given."""
    return {name: value for name, value in zip(names, record.get("apart", ()), strict=False) if value is not None}


def _place(step: Record) -> tuple[Any, ...]:
    return step["optimizer"], step["index"], len(step["parameters"])


def _together(main: Record, told: Sequence[Record]) -> Record:
    """What is the same everywhere is taken from `main`."""
    told = sorted(told, key=lambda step: int(step["ranks"]["rank"]))
    gradients, applied = (_whole(told, [step[name] for step in told]) for name in ("gradients", "gradients_at_step"))
    return {
        **main,
        "gradients": gradients,
        "gradients_at_step": applied,
        "gradient_norm": None if main["gradient_norm"] is None else _root(gradients),
        "gradient_norm_at_step": _root(applied),
        "norms_at_backward": _at_backward(told),
        "updates": _updates(told),
        "weights": _whole(told, [step["weights"] for step in told]),
        "non_finite": list(dict.fromkeys(name for step in told for name in step.get("non_finite", ()))),
        "rank_losses": [step.get("loss") for step in told],
        "apart": [_spread(told, index) for index in range(len(main["ranks"]["sums"]))],
    }


def _whole(told: Sequence[Record], lists: Sequence[Numbers]) -> list[float | None]:
    """A norm for each parameter: of replicas that of the first rank, of shards that of all, if all have told theirs."""
    copies, total = told[0]["ranks"]["copies"], told[0]["ranks"]["world"]
    columns = zip(zip(*lists, strict=False), copies, strict=False)
    return [
        values[0] if held == total else _root(values, held) if len(told) == total else None for values, held in columns
    ]


def _updates(told: Sequence[Record]) -> list[float | None]:
    """The change of each whole parameter in units of its whole norm."""
    norms = [step["ranks"]["norms"] for step in told]
    ratios = [step["updates"] for step in told]
    moved = [[_product(*pair) for pair in zip(*pairs, strict=False)] for pairs in zip(ratios, norms, strict=True)]
    both = zip(_whole(told, moved), _whole(told, norms), strict=False)
    return [change / norm if change is not None and norm else None for change, norm in both]


def _at_backward(told: Sequence[Record]) -> list[float | None]:
    shares = [step["ranks"]["shares_at_backward"] for step in told]
    if len(told) < told[0]["ranks"]["world"] or len(set(map(len, shares))) > 1:
        return []
    return [_root(of_all) for of_all in zip(*shares, strict=True)]


def _spread(told: Sequence[Record], index: int) -> float | None:
    """How far the replicas of a parameter are apart; None for shards, and where fewer than two ranks told of it."""
    if told[0]["ranks"]["copies"][index] < told[0]["ranks"]["world"] or len(told) < 2:
        return None
    sums = [float(step["ranks"]["sums"][index]) for step in told]
    if len(set(sums)) == 1:
        return 0.0
    norm = max(float(step["ranks"]["norms"][index] or 0.0) for step in told)
    return (max(sums) - min(sums)) / norm if norm else math.inf


def _root(norms: Iterable[Any], held: int = 1) -> float | None:
    """The norm of all together, each of which `held` ranks have told."""
    known = [float(norm) for norm in norms if norm is not None]
    return math.sqrt(sum(norm * norm for norm in known) / held) if known else None


def _product(ratio: Any, norm: Any) -> float | None:
    return None if ratio is None or norm is None else float(ratio) * float(norm)
