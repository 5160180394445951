"""Which part of the data a name tells of, and which data set a loader is given."""

from __future__ import annotations

import re

from modellint.core.pattern import pattern

from .code import Event, Value

EVALUATION = pattern(
    r"(?<![a-z])(val|valid|validation|test|testing|eval|dev)(?![a-z])|(?<![a-z])(val|valid|test)(set|data|loader|dl)",
    re.IGNORECASE,
)
TRAINING = pattern(r"train|(?<![a-z])tr(?![a-z])", re.IGNORECASE)
SOME = ("sampler", "batch_sampler")  # a sampler may pick the part that is held out


def trains(name: str) -> bool:
    return _is(TRAINING, EVALUATION, name)


def evaluates(name: str) -> bool:
    return _is(EVALUATION, TRAINING, name)


def loaded(event: Event) -> Value | None:
    """What a loader that is bound to a name is given."""
    return dataset(event.value) if event.kind == "assign" and event.value is not None else None


def dataset(call: Value) -> Value | None:
    """What a loader is given, if it is a name, all of it."""
    if call.method != "DataLoader" or any(a.kind == "starred" for a in call.arguments):
        return None
    given = call.argument(0, "dataset")
    named = given is not None and given.kind in ("name", "attribute") and not any(call.argument(None, n) for n in SOME)
    return given if named and call.argument(3, "sampler") is None else None


def _is(one: re.Pattern[str], other: re.Pattern[str], name: str) -> bool:
    last = name.rpartition(".")[2]
    return one.search(last) is not None and other.search(last) is None
