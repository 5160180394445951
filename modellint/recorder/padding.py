"""Do the places count in the loss that fill short texts up to the longest?"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from torch import Tensor

from . import texts
from .specimen import CannotExamineError, Specimen

LENGTHS = 3  # kinds of them: ends of one length are a part of every text


def examine(specimen: Specimen, labels: Optional[Tensor]) -> Dict[str, Any]:
    """`value`: the part of the labels that is padding, in the text that has most of it.

    The first label after each text is left out: it may be the sign that the text ends.
    """
    shares = [_share(text.labels) for text in texts.find(specimen, labels, _is_padded)]
    if not shares:
        raise CannotExamineError("no padding was found among the labels")
    return {"found": max(shares) > 0, "value": max(shares)}


def _is_padded(tokens: Tensor, labels: Tensor) -> bool:
    """Whether one token ends most texts, at several lengths and nowhere else, and one label does at the same places."""
    (filled, read), (counted, asked) = _ends(tokens), _ends(labels)
    starts = tokens[:, :1] == filled  # a text may begin with the same token
    return (
        counted >= 0
        and len(set(asked.tolist())) >= LENGTHS
        and int((labels == counted).sum()) == int(asked.sum())
        and int((tokens == filled).sum() - starts.sum()) <= int(read.sum())
        and bool(((asked - read).abs() <= 1).all())
    )


def _ends(rows: Tensor) -> Tuple[int, Tensor]:
    """The most common last value, and how many of it stand at the end of each row."""
    rows = rows[:, :-1] if rows.shape[1] > 1 and bool((rows[:, -1] < 0).all()) else rows
    value = int(rows[:, -1].mode().values)
    return value, (rows == value).flip(1).cumprod(1).sum(1)


def _share(labels: Tensor) -> float:
    _, lengths = _ends(labels)
    return float((lengths - 1).clamp_min(0).sum()) / max(1, int((labels >= 0).sum()))
