"""Layers that take the time first, and are given a tensor whose first axis is the batch, as sizes of its function tell."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.pattern import pattern

from .arrangement import CONVOLUTIONS, Arrangement, Kept, kept
from .code import Function, Value
from .script import Script

TAKES_TIME = frozenset({"torch.nn.MultiheadAttention", "torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN"})
OF_IMAGES = pattern(r"torch\.nn\.(GroupNorm|BatchNorm2d|InstanceNorm2d|MaxPool2d|AvgPool2d)")
BATCH = pattern(r"[bB]|bs|bsz|[bB]atch(_?size)?|n_batch|num_batch")
ACROSS = pattern(r"(?i)batch|cross|inter|sample|tempor|frame|video|time")  # attends along the batch on purpose
IMAGE = 4  # axes


def by_batch(script: Script) -> Iterator[tuple[Value, str, bool]]:
    """The calls, by which attribute, and whether it is certain: an image was flattened to a sequence."""
    known: dict[str, Kept] = {}
    for function in script.functions:
        owner = function.owner or ""
        if owner not in known:
            known[owner] = kept(script, owner)
        first = [
            name
            for name, layer in known[owner].layers.items()
            if layer.name in TAKES_TIME and not _is_batch_first(layer)
        ]
        if any(call.name in first for call in function.calls):
            yield from _of(function, known[owner], first)


def _of(function: Function, kept: Kept, first: list[str]) -> Iterator[tuple[Value, str, bool]]:
    arrangement = Arrangement(function, kept)
    images = any(
        CONVOLUTIONS.fullmatch(layer.name) or OF_IMAGES.fullmatch(layer.name) for layer in kept.layers.values()
    )
    for event in function.events:
        arrangement.read(event)
        call = event.value if event.kind == "call" else None
        if call is None or call.name not in first or not call.arguments:
            continue
        axes = arrangement.of(call.arguments[0]).axes
        names = {name for name, (axis, _) in arrangement.sizes.items() if axes is not None and axis == axes[0]}
        lone = axes is not None and len(axes) > 1 and not axes[1]  # one sequence, which the batch makes
        if axes is not None and len(axes) > 2 and not lone and any(map(BATCH.fullmatch, names)):
            head, _, place = "".join(axes[0]).rpartition(".")
            sizes = {size for axis, _ in arrangement.sizes.values() for size in axis if size.startswith(f"{head}.")}
            yield (
                call,
                call.name,
                images and place == "0" and len(sizes) == IMAGE and not ACROSS.search(f"{function.owner} {call.name}"),
            )


def _is_batch_first(layer: Value) -> bool:
    given = layer.argument(None, "batch_first") or layer.argument(4, "")
    return layer.unpacks or given is not None
