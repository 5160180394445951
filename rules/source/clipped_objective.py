"""ML436."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value
from modellint.source.sums import negated

LOG_PROBABILITY = pattern(r"log_?p(rob(s|abilit(y|ies))?)?(?![a-z])|logp", re.IGNORECASE)
CHOICES = frozenset({"min", "minimum", "max", "maximum"})


class ClippedObjective(SourceRule):
    """The clipped objective of PPO is not that: its ratio is a difference of logarithms, or the wrong bound of two is taken.

    Why: PPO clips the ratio of two probabilities, `exp(new - old)`, to 1 ± eps. The difference of the logarithms lies around 0 and
        is always clipped to the same end, so that no gradient is left. And the objective is the smaller of both products, which
        is the larger of both losses: the other one has no bound in the direction in which the policy runs away.
    Fix: `ratio = (new_log_prob - old_log_prob).exp()`; `loss = -torch.min(ratio * advantage, clipped * advantage).mean()`.
    Ignore: never.
    Reported: https://github.com/tensorforce/tensorforce/issues/106
    """

    code, severity, certain, topic = "ML436", Severity.ERROR, True, "loss"
    explains = ("loss-not-falling", "zero-gradients")
    calls = ("clamp", "clip")
    words = (("clamp", "advantage"), ("clamp", "_adv"), ("clip(", "advantage", "torch"))
    bad = (
        """
        for obs, actions, old_log_probs, advantages in batches:
            new_log_probs = policy(obs).log_prob(actions)
            ratio = new_log_probs - old_log_probs
            first = ratio * advantages
            second = torch.clamp(ratio, 1 - clip, 1 + clip) * advantages
            loss = -torch.min(first, second).mean()
        """,
        """
        def update(self, logratio, mb_advantages):
            ratio = logratio.exp()
            pg_loss1 = -mb_advantages * ratio
            pg_loss2 = -mb_advantages * torch.clamp(ratio, 1 - args.clip_coef, 1 + args.clip_coef)
            return torch.min(pg_loss1, pg_loss2).mean()
        """,
        """
        ratios = torch.exp(log_probs - old_log_probs.detach())
        surr1 = ratios * advantages
        surr2 = torch.clamp(ratios, 1.0 - eps_clip, 1.0 + eps_clip) * advantages
        loss = -torch.max(surr1, surr2).mean() - 0.01 * entropy
        """,
    )
    good = (
        """
        ratios = torch.exp(log_probs - old_log_probs.detach())
        surr1 = ratios * advantages
        surr2 = torch.clamp(ratios, 1.0 - eps_clip, 1.0 + eps_clip) * advantages
        loss = -torch.min(surr1, surr2).mean() - 0.01 * entropy
        """,
        """
        def update(self, logratio, mb_advantages):
            ratio = logratio.exp()
            pg_loss1 = -mb_advantages * ratio
            pg_loss2 = -mb_advantages * torch.clamp(ratio, 1 - args.clip_coef, 1 + args.clip_coef)
            return torch.max(pg_loss1, pg_loss2).mean()
        """,
        """
        difference = values - old_values
        clipped = old_values + torch.clamp(difference, -clip, clip)
        loss = torch.max((values - returns) ** 2, (clipped - returns) ** 2).mean() * advantages.std()
        """,
        """
        ratio = (log_prob - old_log_prob).exp()
        clipped = torch.clamp(ratio, 1 - clip, 1 + clip)
        dual = torch.max(torch.min(ratio * advantages, clipped * advantages), 3.0 * advantages)
        """,
        """
        ratio = (log_prob - old_log_prob).exp()
        surrogate = ratio * advantages
        second = ratio.clamp(1 - clip, 1 + clip) * advantages
        loss = torch.max(-surrogate, -second).mean()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            named = {e.name: e.value for e in function.events if e.kind == "assign" and e.value is not None}
            for call in function.calls:
                ratio = _clipped(call)
                made = named.get(ratio.name, ratio) if ratio is not None else None
                if made is not None and _is_difference(made):
                    yield self.at(
                        made, f"clips `{made}` around 1, which is a difference of logarithms: `exp()` is missing"
                    )
            yield from self._chosen(function, named)

    def _chosen(self, function: Function, named: dict[str, Value]) -> Iterator[Diagnostic]:
        for event in function.events:
            for turned, call in _choices(event.value) if event.kind in ("assign", "return", "augment") else ():
                pair = [named.get(part.name, part) for part in call.arguments]
                signs = {_sign(part) for part in pair}
                clips = [any(_clipped(inner) is not None for inner in _written(part, named)) for part in pair]
                if len(pair) == 2 and len(signs) == 1 and sorted(clips) == [False, True] and _share(*pair):
                    losses = signs == {-1}
                    smaller = call.method in ("min", "minimum")
                    if losses and smaller:
                        yield self.at(call, "takes the smaller of two losses, where PPO's bound is the larger")
                    elif turned and not losses and not smaller:
                        yield self.at(call, "takes the larger of two objectives, where PPO's bound is the smaller")


def _clipped(call: Value) -> Value | None:
    """What a call clips to 1 - eps .. 1 + eps."""
    if call.kind != "call" or call.method not in ("clamp", "clip"):
        return None
    of_library = call.name.startswith("torch.")
    low, high = (call.argument(at + of_library, name) for at, name in ((0, "min"), (1, "max")))
    around = low is not None and high is not None and (low.name, high.name) == ("-", "+")
    given = call.argument(0, "input") if of_library else call.receiver
    if not around or low is None or high is None or len(low.arguments) != 2 or len(high.arguments) != 2:
        return None
    return (
        given if low.arguments[0].constant in (1, 1.0) and str(low.arguments[1]) in map(str, high.arguments) else None
    )


def _is_difference(value: Value) -> bool:
    sides = value.arguments if value.kind == "operation" and value.name == "-" else ()
    return len(sides) == 2 and all(LOG_PROBABILITY.search(str(side)) for side in sides)


def _choices(value: Value | None) -> Iterator[tuple[bool, Value]]:
    """The calls of `torch.min` and the like of two tensors, and whether they stand behind a minus."""
    for part in value.within() if value is not None else ():
        inner = negated(part)
        while inner is not None and inner.kind == "call" and inner.method in ("mean", "sum"):
            inner = inner.arguments[0] if inner.name.startswith("torch.") and inner.arguments else inner.base
        if inner is not None and _chooses(inner):
            yield True, inner
        elif _chooses(part):
            yield False, part


def _chooses(value: Value) -> bool:
    return (
        value.kind == "call"
        and value.name.startswith("torch.")
        and value.method in CHOICES
        and len(value.arguments) == 2
    )


def _written(value: Value, named: dict[str, Value]) -> Iterator[Value]:
    """What is written in a value, and in what its names stand for."""
    for part in value.within():
        yield part
        yield from named[part.name].within() if part.kind == "name" and part.name in named else ()


def _sign(value: Value) -> int:
    """-1 for a product with a minus in front of it or of one of its factors."""
    if (inner := negated(value)) is not None:
        return -_sign(inner)
    if value.kind == "operation" and value.name == "*":
        return _sign(value.arguments[0]) * _sign(value.arguments[1])
    return 1


def _share(one: Value, other: Value) -> bool:
    """Whether both are products with the same advantages."""
    names = [{part.name for part in value.within() if part.kind == "name"} for value in (one, other)]
    return any("adv" in name.lower() for name in names[0] & names[1])
