"""ML436."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup, tensors
from modellint.source.ascent import ascends
from modellint.source.code import Function, Value
from modellint.source.sums import negated

LOG_PROBABILITY = pattern(r"log_?p(rob(s|abilit(y|ies))?)?(?![a-z])|logp", re.IGNORECASE)
OLD, NEW = pattern(r"(?<![a-z])(old|prev|behaviou?r)", re.IGNORECASE), pattern(r"(?<![a-z])(new|cur)", re.IGNORECASE)
SMALLER = frozenset({"min", "minimum"})
CHOICES = SMALLER | {"max", "maximum"}

TURNS = frozenset({"grad", "register_hook", "_foreach_neg_", "_foreach_mul_"})  # what may turn gradients around


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
        """
        ratio = torch.exp(log_probs - old_log_probs)
        loss = -torch.min(ratio * advantages, torch.clamp(ratio, -eps, eps) * advantages).mean()
        """,
        """
        for obs, actions, old, advantages, returns in batches:
            dist, value = policy(obs)
            ratio = (dist.log_prob(actions) - old).exp()
            gain = torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
            loss = gain + 0.5 * (returns - value).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )
    suspected = """
        for obs, actions, old_log_probs, advantages in batches:
            new_log_probs = policy(obs).log_prob(actions)
            ratio = torch.exp(old_log_probs - new_log_probs)
            clipped = torch.clamp(ratio, 1 - eps, 1 + eps) * advantages
            loss = -torch.min(ratio * advantages, clipped).mean()
            loss.backward()
        """
    good = (
        """
        def losses(log_prob, old_log_prob, cost_adv, clip):
            ratio = torch.exp(log_prob - old_log_prob)
            gain1 = -ratio * cost_adv
            gain2 = -torch.clamp(ratio, 1 - clip, 1 + clip) * cost_adv
            return -torch.min(gain1, gain2).mean()
        """,
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
        """
        for obs, actions, old, advantages in batches:  # climbs
            ratio = (policy(obs).log_prob(actions) - old).exp()
            gain = torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
            loss = beta * divergence - gain
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        wrong: list[Diagnostic] = []  # if gradients go down
        for function in script.functions:
            named = tensors.named(function)
            for call in function.calls:
                if (given := _around_zero(call)) is not None and _is_ratio(named.get(given.name, given)):
                    yield self.at(call, f"clips `{given}` around 0, which is a ratio and lies around 1")
                ratio = _clipped(call)
                made = named.get(ratio.name, ratio) if ratio is not None else None
                if made is not None and _is_ratio(made) and _is_inverted(made):
                    message = f"clips `{made}`, the old probability over the new one: the ratio is upside down"
                    yield self.at(made, message, certain=False)
                if made is not None and _is_ratio(made) and (cut := _cut(made)) is not None:
                    yield self.at(
                        cut, f"cuts `{cut.receiver}` off in the ratio: no gradient comes to the policy", certain=False
                    )
                if made is not None and _is_difference(made):
                    yield self.at(
                        made, f"clips `{made}` around 1, which is a difference of logarithms: `exp()` is missing"
                    )
            wrong += self._chosen(function, named)
        wrong += self._minimised(script, TURNS.isdisjoint(script.attributes | script.called))
        yield from wrong if wrong and not ascends(script) else ()

    def _chosen(self, function: Function, named: Mapping[str, Value]) -> Iterator[Diagnostic]:
        for event in function.events:
            for turned, call in _choices(event.value) if event.kind in ("assign", "return", "augment") else ():
                pair = [named.get(part.name, part) for part in call.arguments]
                signs = {_sign(part) for part in pair}
                clips = [any(_clipped(inner) is not None for inner in _written(part, named)) for part in pair]
                if (
                    len(pair) == 2
                    and len(signs) == 1
                    and sorted(clips) == [False, True]
                    and _share(pair[0], pair[1], named)
                ):
                    losses = signs == {-1}
                    smaller = call.method in SMALLER
                    if losses and smaller and not turned and not _is_negated(function, event.name):
                        yield self.at(call, "takes the smaller of two losses, where PPO's bound is the larger")
                    elif turned and not losses and not smaller:
                        yield self.at(call, "takes the larger of two objectives, where PPO's bound is the smaller")

    def _minimised(self, script: Script, sure: bool) -> Iterator[Diagnostic]:
        """Objectives that a loss adds as they are: with rewards the sign is wrong, with costs the bound."""
        backwards = (
            act for loop in script.training_loops for act in loop.of("backward") if not act.call.argument(0, "gradient")
        )
        for part in (part for act in backwards for part in act.summands):
            call, function = part.value, lookup.function(script, part.value.location)
            if part.sign == part.written == 1 and function is not None and _chooses(call) and call.method in SMALLER:
                named = tensors.named(function)
                pair = [named.get(side.name, side) for side in call.arguments]
                clips = [any(_clipped(inner) is not None for inner in _written(side, named)) for side in pair]
                if sorted(clips) == [False, True] and set(map(_sign, pair)) == {1} and _share(pair[0], pair[1], named):
                    message = "minimises the objective of PPO: it enters the loss without a minus"
                    yield self.at(call, message, certain=sure)


def _is_negated(function: Function, name: str) -> bool:
    """Whether what a name is bound to is turned around later."""
    inner = (negated(part) for part in function.values)
    return any(name in {part.name for part in value.within()} for value in inner if value is not None)


def _clipped(call: Value) -> Value | None:
    """What a call clips to 1 - eps .. 1 + eps."""
    given, low, high = _bounds(call)
    around = low is not None and high is not None and (low.name, high.name) == ("-", "+")
    if not around or low is None or high is None or len(low.arguments) != 2 or len(high.arguments) != 2:
        return None
    return (
        given if low.arguments[0].constant in (1, 1.0) and str(low.arguments[1]) in map(str, high.arguments) else None
    )


def _around_zero(call: Value) -> Value | None:
    """What a call clips to -eps .. eps."""
    given, low, high = _bounds(call)
    negated = low is not None and low.kind == "operation" and low.name == "-" and len(low.arguments) == 1
    return given if negated and low is not None and str(low.arguments[0]) == str(high) else None


def _bounds(call: Value) -> tuple[Value | None, Value | None, Value | None]:
    if call.kind != "call" or call.method not in ("clamp", "clip"):
        return None, None, None
    of_library = call.name.startswith("torch.")
    given = call.argument(0, "input") if of_library else call.receiver
    return given, call.argument(of_library, "min"), call.argument(1 + of_library, "max")


def _is_ratio(value: Value) -> bool:
    """The exponential of a difference of log-probabilities."""
    if value.kind != "call" or value.method != "exp":
        return False
    inner = value.argument(0, "input") if value.name.startswith("torch.") else value.receiver
    return inner is not None and _is_difference(inner)


def _cut(ratio: Value) -> Value | None:
    """The `detach()` of the new log-probability, which comes first."""
    inner = ratio.argument(0, "input") if ratio.name.startswith("torch.") else ratio.receiver
    first = inner.arguments[0] if inner is not None and inner.arguments else None
    cut = first is not None and first.kind == "call" and first.method == "detach" and not OLD.search(str(first))
    return first if cut else None


def _is_inverted(ratio: Value) -> bool:
    """Whether names tell that the old log-probability comes first: `exp(old - new)`."""
    inner = ratio.argument(0, "input") if ratio.name.startswith("torch.") else ratio.receiver
    first, second = (str(side) for side in inner.arguments) if inner is not None else ("", "")
    old, new = (OLD.search(first), OLD.search(second)), (NEW.search(first), NEW.search(second))
    return bool((old[0] or new[1]) and not old[1] and not new[0])


def _is_difference(value: Value) -> bool:
    sides = value.arguments if value.kind == "operation" and value.name == "-" else ()
    return len(sides) == 2 and all(LOG_PROBABILITY.search(str(side)) for side in sides)


def _choices(value: Value | None) -> Iterator[tuple[bool, Value]]:
    """The calls of `torch.min` and the like of two tensors, and whether they stand behind a minus."""
    turned: set[int] = set()
    for part in value.within() if value is not None else ():
        inner = negated(part)
        while inner is not None and inner.kind == "call" and inner.method in ("mean", "sum"):
            inner = inner.arguments[0] if inner.name.startswith("torch.") and inner.arguments else inner.base
        if inner is not None and _chooses(inner):
            turned.add(id(inner))
            yield True, inner
        elif _chooses(part) and id(part) not in turned:
            yield False, part


def _chooses(value: Value) -> bool:
    return (
        value.kind == "call"
        and value.name.startswith("torch.")
        and value.method in CHOICES
        and len(value.arguments) == 2
    )


def _written(value: Value, named: Mapping[str, Value]) -> Iterator[Value]:
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


def _factors(value: Value, named: Mapping[str, Value]) -> Iterator[Value]:
    """What a product is made of, through the names of products and of what is clipped."""
    made = named.get(value.name, value) if value.kind == "name" else value
    if made.kind == "operation" and (made.name == "*" or (made.name == "-" and len(made.arguments) == 1)):
        for part in made.arguments:
            yield from _factors(part, named)
    else:
        yield made if _clipped(made) is not None else value


def _share(one: Value, other: Value, named: Mapping[str, Value]) -> bool:
    """Whether both are products of one value, and one of them with a ratio, the other with that ratio clipped."""
    factors = [[str(factor) for factor in _factors(side, named)] for side in (one, other)]
    clipped = [str(_clipped(factor)) for side in (one, other) for factor in _factors(side, named) if _clipped(factor)]
    common = set(factors[0]) & set(factors[1])
    return len(clipped) == 1 and bool(common - set(clipped)) and clipped[0] in factors[0] + factors[1]
