"""ML435."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source.code import Block, Event, Value

REWARDS = pattern(
    r"(^|[._])(ep(isode)?_?|batch_?|all_?)?(rewards?|rews?)(_?(list|buffer|history|batch|lst))?$", re.IGNORECASE
)
DISCOUNT = pattern(r"(^|[._])(gamma|discount(_factor|_rate)?)$", re.IGNORECASE)
TURNS = frozenset({"reverse", "reversed", "flip", "flipud", "flipped", "appendleft"})


class PastReturns(SourceRule):
    """The discounted returns are added up from the first reward on: each holds what came before its action, not after it.

    Why: the return of a step is its reward and `gamma` times the return of the next step, so that the sum must begin at the
        end. From the front, actions are credited with what happened before them: the last of an episode gets all of it.
    Fix: go over `reversed(rewards)`, and turn the list of returns round at the end.
    Ignore: for the running sum by whose spread rewards are normalized, which is kept so on purpose.
    Reported: https://github.com/mohmdelsayed/streaming-drl/issues/3
    """

    code, severity, certain, topic = "ML435", Severity.ERROR, True, "loss"
    explains = ("loss-not-falling",)
    words = tuple(("rew", discount, "log_prob") for discount in ("gamma", "GAMMA", "discount"))
    bad = (
        """
        def returns_of(rewards, gamma=0.99):
            returns, running = [], 0.0
            for reward in rewards:
                running = reward + gamma * running
                returns.append(running)
            return torch.tensor(returns)

        loss = -(policy.log_prob(actions) * returns_of(rewards)).sum()
        """,
        """
        def finish_episode(policy, optimizer):
            R, returns = 0, []
            for r in policy.rewards:
                R = r + args.gamma * R
                returns.insert(0, R)
            loss = sum(-log_prob * R for log_prob, R in zip(policy.saved_log_probs, returns))
            loss.backward()
        """,
    )
    fixed = (
        """
        def returns_of(rewards, gamma=0.99):
            returns, running = [], 0.0
            for reward in reversed(rewards):
                running = reward + gamma * running
                returns.insert(0, running)
            return torch.tensor(returns)

        loss = -(policy.log_prob(actions) * returns_of(rewards)).sum()
        """,
        """
        def finish_episode(policy, optimizer):
            R, returns = 0, []
            for r in reversed(policy.rewards):
                R = r + args.gamma * R
                returns.insert(0, R)
            loss = sum(-log_prob * R for log_prob, R in zip(policy.saved_log_probs, returns))
            loss.backward()
        """,
    )
    good = (
        """
        backwards = rewards[::-1]
        returns, running = [], 0.0
        for reward in backwards:
            running = reward + gamma * running
            returns.insert(0, running)
        loss = -(torch.stack(log_probs) * torch.tensor(returns)).sum()
        """,
        """
        def finish_episode(policy, optimizer):
            R, returns = 0, []
            for r in policy.rewards[::-1]:
                R = r + args.gamma * R
                returns.insert(0, R)
            loss = sum(-log_prob * R for log_prob, R in zip(policy.saved_log_probs, returns))
        """,
        """
        rewards = torch.tensor(rewards[::-1], device=device)
        R, returns = 0, []
        for r in rewards:
            R = (R * gamma) + r
            returns.append(R)
        loss = -(torch.stack(log_probs[::-1]) * torch.stack(returns)).sum()
        """,
        """
        rewards.reverse()
        R = 0
        for r in rewards:
            R = r + gamma * R
            returns.append(R)
        loss = -(log_probs * torch.tensor(returns[::-1])).sum()
        """,
        """
        def spread(rewards, gamma):
            running, seen = 0.0, RunningStatistics()
            for reward in rewards:
                running = reward + gamma * running
                seen.push(running)
            return seen.std(), log_prob
        """,
        """
        total, factor = 0.0, 1.0
        for reward in rewards:
            total = total + factor * reward
            factor = factor * gamma
        print(total, log_prob)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if script.called & TURNS or any(_turns_round(part) for value in _bound(script) for part in value.within()):
            return
        for function in script.functions:
            for number, block in enumerate(function.blocks):
                if block.kind == "for" and block.value is not None and _is_rewards(block.value):
                    inside = [event for _, event in function.inside(number)]
                    for event in inside:
                        if event.value is not None and _accumulates(event, block) and _collected(inside, event.name):
                            yield self.at(
                                event.value, f"adds up `{block.value}` from the first one on, discounting the future"
                            )

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """The loop goes from the end, and what it collects is put in front."""
        for function in script.functions:
            for number, block in enumerate(function.blocks):
                inside = [event.value for _, event in function.inside(number) if event.value is not None]
                held = any(value.location == finding.location for value in inside)
                if block.kind == "for" and block.value is not None and held and _is_rewards(block.value):
                    front = [edit.replace(c, "{receiver}.insert(0, {0})") for c in inside if c.method == "append"]
                    return Fix((edit.replace(block.value, "reversed({whole})"), *front), safe=False)
        return None


def _bound(script: Script) -> Iterator[Value]:
    return (e.value for f in script.functions for e in f.events if e.kind == "assign" and e.value is not None)


def _turns_round(value: Value) -> bool:
    """`rewards[::-1]`."""
    return (
        value.kind == "item" and value.arguments[0].kind == "unknown" and any(p.constant == -1 for p in value.within())
    )


def _is_rewards(over: Value) -> bool:
    return over.kind == "name" and REWARDS.search(over.name) is not None


def _accumulates(event: Event, block: Block) -> bool:
    """Whether a name becomes a reward and a discount times what it was: `R = r + gamma * R`."""
    value = event.value
    if event.kind != "assign" or value is None or value.kind != "operation" or value.name != "+":
        return False
    products = [part for part in value.arguments if part.kind == "operation" and part.name == "*"]
    rest = [part for part in value.arguments if part.kind == "name"]
    if len(products) != 1 or len(rest) != 1 or rest[0].name == event.name:
        return False
    factors = [part.name for part in products[0].arguments if part.kind == "name"]
    return event.name in factors and any(DISCOUNT.search(name) for name in factors) and block.value is not None


def _collected(inside: list[Event], name: str) -> bool:
    """Whether what has been added up so far is put into a list in each pass."""
    calls = (e.value for e in inside if e.kind == "call" and e.value is not None)
    return any(c.method in ("append", "insert") and c.arguments and c.arguments[-1].name == name for c in calls)
