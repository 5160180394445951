"""The targets of a CTC loss: how many of their labels are the blank, and how many do not fit into their inputs."""

from __future__ import annotations

import itertools
from typing import Any, Dict, Iterator, List, Optional

from torch import Tensor

from .tensors import is_plain


def facts(given: Any) -> Optional[Dict[str, int]]:
    """The fields of Transcripts, for the arguments of `ctc_loss`."""
    blank, targets = given["blank"], given["targets"]
    if not is_plain(targets) or not targets.numel():
        return None
    frames, lengths = _numbers(given["input_lengths"]), _numbers(given["target_lengths"])
    texts = list(_texts(targets.detach().cpu(), lengths))
    within = [int((_body(text, blank) == blank).sum()) for text in texts]
    return {
        "samples": len(texts),
        "labels": sum(map(len, texts)),
        "blanks": sum(within),
        "too_long": sum(_needs(text) > room for text, room in zip(texts, frames)),
    }


def _texts(targets: Tensor, lengths: List[int]) -> Iterator[Tensor]:
    """The labels of each sample, whether they are padded or one after the other."""
    if targets.dim() > 1:
        yield from (row[:length] for row, length in zip(targets, lengths))
    else:
        ends = list(itertools.accumulate(lengths))
        yield from (targets[end - length : end] for end, length in zip(ends, lengths))


def _body(text: Tensor, blank: int) -> Tensor:
    """Without the blanks at its end: they are padding that is counted in the length, and harm little."""
    labels = (text != blank).nonzero()
    return text[: int(labels[-1]) + 1] if len(labels) else text[:0]


def _needs(text: Tensor) -> int:
    """The frames that it takes: a label that is repeated has a blank before it."""
    return len(text) + int((text[1:] == text[:-1]).sum())


def _numbers(lengths: Any) -> List[int]:
    return [int(length) for length in (lengths.reshape(-1).tolist() if isinstance(lengths, Tensor) else lengths)]
