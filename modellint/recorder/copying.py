"""Is a model that reads a text from left to right asked for the very tokens that it has just read?"""

from __future__ import annotations

from typing import Any, Dict, Optional

from torch import Tensor

from . import causality, texts
from .specimen import CannotExamineError, Specimen


def examine(specimen: Specimen, labels: Optional[Tensor]) -> Dict[str, Any]:
    """`found`: the labels are the tokens of their own places, and no place sees a later one.

    A model that sees the whole text may have to squeeze it through something, as an autoencoder does. What its results do
    not depend on are the labels themselves, which it is given for the loss.
    """
    given = texts.find(specimen, labels, _is_copied)
    asked = [text for text in given if causality.seen(specimen, text, ahead=0)]
    if not asked:
        raise CannotExamineError("the labels are not the tokens of an input")
    ahead = max(causality.seen(specimen, text) for text in asked)
    return {"found": not ahead, "value": ahead}


def _is_copied(tokens: Tensor, labels: Tensor) -> bool:
    """Whether the labels are those of the same place; not if they are as well the next ones."""
    count, here, following = texts.agreement(tokens, labels)
    return tokens.shape == labels.shape and count >= texts.FEWEST and here == count and following < 0.8 * count
