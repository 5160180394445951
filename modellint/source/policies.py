"""Losses of policies as they are written: log-probabilities of actions, what these gained, critics that value them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint.core.pattern import pattern

from . import lookup, tensors
from .code import Function, Value
from .facts import Summand, TrainingLoop
from .script import Script
from .sums import negated

GAIN = pattern(
    r"(\w+_)?(adv|advantages?|returns?|gaes?|rewards?|rews?|td_errors?|R|G|Gt|rets?|rtgs?|reward_to_go)(_\w+)?"
)
LIKELY = pattern(r"\w*log_?p(rob(s|abilit(y|ies))?)?(_\w+)?", re.IGNORECASE)
DEEPEST = 5  # names that one value is followed through
CHOICES = frozenset({"min", "minimum", "max", "maximum", "mean", "sum", "squeeze", "view", "flatten"})


def factors(function: Function, value: Value, sign: int) -> tuple[int, list[Value]]:
    """What a product is made of, through names, choices among alike products and reductions, and its sign."""
    found: list[Value] = []
    waiting, seen = [value], set[int]()
    while waiting and len(found) < 10:
        part = _read(function, waiting.pop())
        if id(part) in seen:  # `loss = loss.mean()`: what it was before is not told
            found.append(part)
            continue
        seen.add(id(part))
        if (inner := negated(part)) is not None:
            sign, waiting = -sign, [*waiting, inner]
        elif part.kind == "operation" and part.name == "*":
            waiting += part.arguments
        elif part.kind == "item" and part.base is not None and part.base.kind == "call":
            waiting.append(part.base)
        elif part.kind == "call" and part.method in CHOICES:
            inner = tensors.operand(part)
            waiting += [inner] if inner is not None else []
        else:
            found.append(part)
    return sign, found


def is_likelihood(script: Script, function: Function, value: Value) -> bool:
    """A log-probability, or the ratio that is made of two."""
    if any(part.method == "detach" for part in value.within()) and value.kind == "call":
        return False  # a weight of what else is learned
    for _ in range(DEEPEST):
        if value.kind != "call" or value.method not in ("exp", "unsqueeze", "reshape", "clamp", "clip"):
            break
        inner = tensors.operand(value)
        if inner is None:
            return False
        value = _read(function, inner)
    if value.kind == "operation" and value.name == "-" and len(value.arguments) == 2:
        value = _read(function, value.arguments[0])
    if value.kind == "call":
        return value.method == "log_prob"
    named = value.kind in ("name", "item") and LIKELY.fullmatch(_name(value)) is not None
    return named and "log_prob" in script.called and not _turned(script, "log_prob")


def is_gain(function: Function, value: Value, follow: bool = True) -> bool:
    """What is good in large amounts: rewards, returns, and what they are above a baseline."""
    value = tensors.bare(value)
    if value.kind == "name":
        made = tensors.bound(function, value.name) if follow else None
        plain = made is None or made.name not in ("-", "/") or is_gain(function, made, follow=False)
        return GAIN.fullmatch(value.method) is not None and plain
    if value.kind == "item" and value.base is not None:
        return is_gain(function, value.base, follow)
    if value.kind == "operation" and value.name in ("-", "/") and len(value.arguments) == 2:
        first, second = (is_gain(function, side, follow) for side in value.arguments)
        return first and (value.name == "/" or not second or str(value.arguments[0]) in str(value.arguments[1]))
    return False


def is_negated(script: Script) -> bool:
    """Whether rewards are turned into costs: `-reward`."""
    return any(v.kind == "name" and (v.method == "r" or GAIN.fullmatch(v.method)) for v in _negatives(script))


def values_actions(script: Script, function: Function, score: Value, loop: TrainingLoop) -> bool:
    """Whether it is what a critic gives for the action of another model, and that critic learns of rewards."""
    if score.kind != "call" or score.name.startswith("torch.") or len(score.arguments) < 2:
        return False
    models = {id(act.call) for act in loop.of("model")}
    made = [v for given in score.arguments for v in tensors.origins(function, given)]
    acted = any((id(v) in models or "actor" in v.name or "polic" in v.name) and v.kind == "call" for v in made)
    return acted and any(_learns(script, part, score) for act in loop.of("backward") for part in act.summands)


def _read(function: Function, value: Value) -> Value:
    """What a name is bound to, if that is computed and the name does not tell what is good."""
    for _ in range(DEEPEST):
        value = tensors.bare(value)
        made = tensors.bound(function, value.name) if value.kind == "name" else None
        known = GAIN.fullmatch(value.method) or LIKELY.fullmatch(value.method)
        if made is None or GAIN.fullmatch(value.method):
            break
        part = made.kind == "item" and made.base is not None and made.base.kind == "call" and not known
        if not part and made.kind not in ("operation", "call", "name"):
            break
        value = made
    return value


def _name(value: Value) -> str:
    return value.method if value.kind == "name" else str(value.base).rpartition(".")[2]


def _turned(script: Script, method: str) -> bool:
    """Whether some name of a log-probability may hold its negative, as it is kept or returned so."""
    inner = _negatives(script)
    return any((v.kind == "call" and v.method == method) or LIKELY.fullmatch(v.method) for v in inner)


def _negatives(script: Script) -> Iterator[Value]:
    """All that is taken with a minus."""
    inner = (negated(part) for function in script.functions for part in function.values)
    return (tensors.bare(value) for value in inner if value is not None)


def _learns(script: Script, part: Summand, score: Value) -> bool:
    """Whether a loss compares what the critic gives with something that rewards are added to."""
    function = lookup.function(script, part.value.location) if part.value.location.path == script.path else None
    if function is None or part.value.kind != "call" or len(part.value.arguments) < 2:
        return False
    given, goal = part.value.arguments[:2]
    critics = {score.name, score.name.rpartition(".")[0]} - {"", "self"}  # `critic.Q1(s, a)` beside `critic(s, a)`
    criticised = any(v.kind == "call" and v.name in critics for v in tensors.origins(function, given))
    sums = (v for v in tensors.origins(function, goal) if v.kind == "operation" and v.name == "+")
    return criticised and any(_is_reward(side) for total in sums for side in total.arguments)


def _is_reward(value: Value) -> bool:
    return value.kind == "name" and re.fullmatch(r"(\w+_)?(r|rew|rews|rewards?)(_\w+)?", value.method) is not None
