"""Texts among what a model is given: tokens with a label for each place."""

from __future__ import annotations

from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from .specimen import Specimen

Match = Callable[[Tensor, Tensor], bool]  # of tokens and labels, both [samples, places]
FEWEST = 8  # labels that are known


class Text(NamedTuple):
    """An input of tokens whose next ones are the labels: `tokens` and `labels` are [samples, places]."""

    input: Tensor
    tokens: Tensor
    labels: Tensor  # -1 where there is none; the last place may be missing
    time_first: bool  # of the input
    joined_time_first: bool  # of the labels, as the loss is given them


def find(specimen: Specimen, labels: Optional[Tensor], match: Match) -> List[Text]:
    """The inputs of tokens that the labels `match`."""
    return [] if labels is None else [text for tensor in specimen.inputs() for text in _texts(tensor, labels, match)]


def _texts(tensor: Tensor, labels: Tensor, match: Match) -> Iterator[Text]:
    tokens = _tokens(tensor)
    if tokens is None:
        return
    for time_first in (False, True):
        given = tokens.T if time_first else tokens
        samples, places = given.shape
        for length in (places, places - 1):
            if length > 0 and labels.numel() == samples * length:
                for joined in (False, True):
                    rows = labels.reshape(length, samples).T if joined else labels.reshape(samples, length)
                    if match(given, rows):
                        yield Text(tensor, given, rows, time_first, joined)
                        return


def _tokens(tensor: Tensor) -> Optional[Tensor]:
    """[.., ..] of integers; also of one-hot vectors."""
    if tensor.dim() == 2 and not tensor.is_floating_point() and tensor.dtype is not torch.bool:
        return tensor.cpu()
    if tensor.dim() == 3 and _is_one_hot(tensor):
        return tensor.argmax(-1).cpu()
    return None


def _is_one_hot(tensor: Tensor) -> bool:
    return tensor.shape[-1] > 1 and bool(((tensor == 0) | (tensor == 1)).all()) and bool((tensor.sum(-1) == 1).all())


def agreement(tokens: Tensor, labels: Tensor) -> Tuple[int, int, int]:
    """How many labels are known, are the token of their own place, and are that of the next one."""
    here, following = tokens[:, :-1], tokens[:, 1:]
    labels = labels[:, : here.shape[1]]
    known = labels >= 0
    own, next_one = (int(((labels == other) & known).sum()) for other in (here, following))
    return int(known.sum()), own, next_one


def is_shifted(tokens: Tensor, labels: Tensor) -> bool:
    """Whether the labels are the next tokens; not if they are as well those of the same place."""
    count, here, following = agreement(tokens, labels)
    return count >= FEWEST and following >= 0.95 * count and here < 0.8 * count
