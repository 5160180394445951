"""Optimizers of a file that are given one model, where their names tell of two: a line that was copied and changed at one end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from modellint.core.pattern import pattern

from .code import Value
from .facts import Optimizer
from .script import Script

WORDS = pattern(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
ADVERSARIES = {
    "g": ("generator", "gen"),
    "d": ("discriminator", "disc", "critic"),
}  # called by a letter beside their names


def misled(script: Script) -> Iterator[tuple[Optimizer, str, str]]:
    """Optimizers with the model that each is given and the one that its name tells of, which no optimizer is given."""
    bound = {id(e.value): e.name for f in script.functions for e in f.events if e.kind == "assign"}
    names = set(bound.values())
    given = defaultdict[str, list[tuple[str, Optimizer]]](list)
    for made in script.optimizers:
        if id(made.call) in bound and (model := _model(made.call)):
            given[model].append((bound[id(made.call)], made))
    for model, holders in given.items():
        for name, made in holders:
            meant = {
                other for rightful, _ in holders for other in _meant(model, rightful, name) if other in names - {model}
            }
            if len(meant) == 1 and not _is_asked(script, other := min(meant)):
                yield made, model, other


def _model(made: Value) -> str:
    """The one model whose parameters an optimizer is given, all of them."""
    parts = [part for part in made.within() if part.method in ("parameters", "named_parameters")]
    receivers = {str(part.receiver) for part in parts if part.kind == "call" and part.receiver is not None}
    return receivers.pop() if len(parts) == len(receivers) == 1 else ""


def _meant(model: str, rightful: str, name: str) -> Iterator[str]:
    """The models that `name` tells of where `rightful` is the optimizer of `model`: both names differ in one word."""
    one, other = WORDS.findall(rightful), WORDS.findall(name)
    changed = [pair for pair in zip(one, other, strict=False) if pair[0] != pair[1]]
    if len(one) == len(other) and len(changed) == 1:
        (old, new), owner, last = changed[0], *_split(model)
        yield owner + WORDS.sub(lambda word: _like(word[0], new) if word[0].lower() == old.lower() else word[0], last)
        if last.lower() in ADVERSARIES.get(old.lower(), ()):
            yield from (owner + known for known in ADVERSARIES.get(new.lower(), ()))


def _split(name: str) -> tuple[str, str]:
    owner, dot, last = name.rpartition(".")
    return owner + dot, last


def _like(word: str, other: str) -> str:
    return other.upper() if word.isupper() else other.lower() if word.islower() else other.capitalize()


def _is_asked(script: Script, model: str) -> bool:
    """Whether the parameters of a model are asked for anywhere."""
    asked = (call for call in script.calls if call.method in ("parameters", "named_parameters", "requires_grad_"))
    return any(str(call.receiver) == model for call in asked)
