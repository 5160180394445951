"""Does a model that learns to predict the next token see that token?"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional

import torch
from torch import Tensor

from . import origin, texts
from .specimen import CannotExamineError, Specimen

RECURRENT = (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)
MIXERS = (*RECURRENT, torch.nn.MultiheadAttention)


def examine(specimen: Specimen, labels: Optional[Tensor]) -> Dict[str, Any]:
    """`found`: what is computed at a place changes with the token of the next place, which is its label.

    Where the text is given twice, as to an encoder and a decoder, one that is not seen early is enough.
    """
    asked = texts.find(specimen, labels, texts.is_shifted)
    if not asked:
        raise CannotExamineError("the labels are not the next tokens of an input")
    values = [seen(specimen, text) for text in asked]
    found = min(values) > 0
    result = {"found": found, "value": min(values), "sure": not _may_summarise(specimen)}
    return {**result, "origin": _origin(specimen, asked[0])} if found else result


def seen(specimen: Specimen, text: texts.Text, ahead: int = 1) -> float:
    """The largest change of a result at a place when the token of the next place, or of one `ahead`, is another one."""
    usual = specimen.usual()
    which = next((i for i, result in enumerate(usual) if _by_place(result, text)), None)
    if which is None:
        raise CannotExamineError("no result has a row for each token")
    known = (text.labels >= 0).any(0).nonzero().flatten().tolist()
    places = [place for place in known if place + 1 < text.tokens.shape[1]]
    judged = {places[0], places[len(places) // 2], places[-1]}
    return max(_change_at(specimen, which, text, place, ahead) for place in judged)


def _origin(specimen: Specimen, text: texts.Text) -> Dict[str, Any]:
    """The module that lets a place see the next one."""
    place = (text.labels >= 0).any(0).nonzero().flatten().tolist()[0]

    def seen(change: Tensor) -> Optional[bool]:
        views = _by_place(change, text)
        return all(bool(view[:, place].any()) for view in views) if views else None

    return origin.find(specimen, {id(text.input): _with_other(text, place + 1)}, seen)


def _change_at(specimen: Specimen, which: int, text: texts.Text, place: int, ahead: int) -> float:
    after = specimen.run({id(text.input): _with_other(text, place + ahead)})[which]
    views = _by_place(specimen.change(specimen.usual()[which], after), text)
    return min(float(view[:, place][text.labels[:, place] >= 0].max()) for view in views)


def _with_other(text: texts.Text, place: int) -> Tensor:
    """The input with other tokens, out of those that occur in it, at one place of every sample."""
    kinds, ranks = torch.unique(text.tokens, return_inverse=True)
    other = kinds[(ranks[:, place] + 1) % len(kinds)].to(text.input.device)
    changed = text.input.clone()
    by_sample = changed.transpose(0, 1) if text.time_first else changed
    one_hot = text.input.dim() == 3
    by_sample[:, place] = (
        torch.nn.functional.one_hot(other, text.input.shape[-1]).to(changed.dtype) if one_hot else other
    )
    return changed


def _by_place(result: Tensor, text: texts.Text) -> List[Tensor]:
    """[samples, places, ...] of a result, in each way that its shape allows; none if it has no such axes."""
    samples, places = (int(size) for size in text.tokens.shape)
    return [view for length in (places, places - 1) for view in _ways(result, text, samples, length)]


def _ways(result: Tensor, text: texts.Text, samples: int, places: int) -> Iterator[Tensor]:
    straight, turned = (samples, places), (places, samples)
    if result.dim() > 1 and result.shape[:2] in (straight, turned):
        time_first = text.time_first if samples == places else result.shape[:2] == turned
        yield result.transpose(0, 1) if time_first else result
    if result.dim() == 3 and (len(result), result.shape[2]) == straight:
        yield result.transpose(1, 2)
    if result.dim() == 2 and len(result) == samples * places:
        joined = turned if text.joined_time_first else straight
        yield result.reshape(*joined, -1).transpose(0, 1) if text.joined_time_first else result.reshape(*joined, -1)


def _may_summarise(specimen: Specimen) -> bool:
    """Whether an encoder may sum up the whole text for a decoder, as an autoencoder does by design."""
    modules = dict(specimen.model.named_modules())
    readers = [name.lower() for name, module in modules.items() if _reads(module)]
    halves = all(any(half in name for name in readers) for half in ("enc", "dec"))
    recurrent = [module for module in modules.values() if isinstance(module, RECURRENT)]
    return halves or (len(recurrent) > 1 and not any(module.bidirectional for module in recurrent))


def _reads(module: torch.nn.Module) -> bool:
    """Whether it holds layers that join the places of a text, or the embedding of a text of its own."""
    return any(
        isinstance(part, MIXERS) or (part is not module and isinstance(part, torch.nn.Embedding))
        for part in module.modules()
    )
