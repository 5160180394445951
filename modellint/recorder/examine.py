"""After the last watched step: what a copy of the model computes of the recorded batch, as one record an examination."""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, Iterator

from . import capacity, causality, chance, copying, determinism, independence, models, padding
from .given import Given, GivenWatch
from .specimen import CannotExamineError, Specimen, may_be_copied

Result = Dict[str, Any]


def examine(watch: GivenWatch, optimizers: int, goes_on: bool) -> Iterator[Result]:
    """Nothing that the user keeps changes. What cannot be examined is a record with its `reason`."""
    examinations = _examinations(watch, optimizers)
    try:
        given = _given(watch, goes_on)
        with chance.undisturbed():
            specimen = Specimen(given, watch.steady)
            place = models.class_place(specimen.model, "")
            for name, make in examinations.items():
                yield {"kind": "examination", "name": name, "location": place, **_made(make, specimen)}
    except CannotExamineError as why:
        for name in examinations:
            yield {"kind": "examination", "name": name, "location": {}, "reason": str(why)}


def _examinations(watch: GivenWatch, optimizers: int) -> Dict[str, Callable[[Specimen], Result]]:
    labels = watch.labels

    def batch_mixing(specimen: Specimen) -> Result:
        if optimizers > 1:
            raise CannotExamineError("one of several networks may compare the samples of a batch by design")
        return independence.examine(specimen, labels)

    return {
        "determinism": determinism.examine,
        "batch-mixing": batch_mixing,
        "causality": lambda specimen: causality.examine(specimen, labels),
        "copying": lambda specimen: copying.examine(specimen, labels),
        "padding": lambda specimen: padding.examine(specimen, labels),
        "capacity": lambda specimen: capacity.examine(specimen, labels),  # the last: it changes the weights of the copy
    }


def _made(make: Callable[[Specimen], Result], specimen: Specimen) -> Result:
    try:
        return make(specimen)
    except CannotExamineError as why:
        return {"reason": str(why)}
    except Exception as error:  # of an examination, not of the model: the others can still be made
        return {"reason": "%s: %s" % (type(error).__name__, error)}


def _given(watch: GivenWatch, goes_on: bool) -> Given:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        raise CannotExamineError("the model is trained by several processes")
    given = watch.take()
    if given is None:
        raise CannotExamineError("the model was not called as a whole in the last step")
    may_be_copied(given.model, goes_on)
    return given
