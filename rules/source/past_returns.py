"""ML435."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source.code import Block, Event, Function, Value

REWARDS = pattern(
    r"(^|[._])(ep(isode)?_?|batch_?|all_?)?(rewards?|rews?)(_?(list|buffer|history|batch|lst))?$", re.IGNORECASE
)
DISCOUNT = pattern(r"(^|[._])(gamma|discount(_factor|_rate)?)$", re.IGNORECASE)
DELTA = pattern(r"delta|td", re.IGNORECASE)
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
    words = (
        *(("rew", discount, "log_prob") for discount in ("gamma", "GAMMA", "discount")),
        ("rew", "gamma", "delta", "advantage"),
    )
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
    suspected = (
        """
        def scaled(rewards, gamma=0.99):
            running, seen = 0.0, []
            for reward in rewards:
                running = reward + gamma * running
                seen.append(running)
            return [reward / torch.tensor(seen).std() for reward in rewards]

        def learn(optimizer, log_probs, rewards):
            sum(-l * r for l, r in zip(log_probs, scaled(rewards))).backward()
        """,
        """
        def finish_episode(policy, optimizer):
            R, returns = 0, []
            for r in policy.rewards[::-1]:
                R = r + args.gamma * R
                returns.append(R)
            loss = sum(-log_prob * R for log_prob, R in zip(policy.saved_log_probs, returns))
            loss.backward()
        """,
        """
        def advantages_of(rewards, values, dones, gamma=0.99, lam=0.95):
            advantages, gae = torch.zeros_like(rewards), 0.0
            for t in range(len(rewards)):
                delta = rewards[t] + gamma * values[t + 1] * (1 - dones[t]) - values[t]
                gae = delta + gamma * lam * (1 - dones[t]) * gae
                advantages[t] = gae
            return advantages
        """,
    )
    good = (
        """
        class Agent:
            def note(self, reward, log_prob):
                self.rewards = [reward] + self.rewards
                self.log_probs = [log_prob] + self.log_probs

            def learn(self, gamma=0.99):
                R, returns = 0, []
                for r in self.rewards:
                    R = r + gamma * R
                    returns.append(R)
                sum(-log_prob * R for log_prob, R in zip(self.log_probs, returns)).backward()
        """,
        """
        def finish_episode(policy, optimizer):
            R, returns = 0, []
            for r in policy.rewards[::-1]:
                R = r + args.gamma * R
                returns.append(R)
            loss = sum(-log_prob * R for log_prob, R in zip(policy.saved_log_probs[::-1], returns))
            loss.backward()
        """,
        """
        def advantages_of(rewards, values, dones, gamma=0.99, lam=0.95):
            advantages, gae = torch.zeros_like(rewards), 0.0
            for t in range(len(rewards) - 1, -1, -1):
                delta = rewards[t] + gamma * values[t + 1] * (1 - dones[t]) - values[t]
                gae = delta + gamma * lam * (1 - dones[t]) * gae
                advantages[t] = gae
            return advantages
        """,
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
        for function in script.functions:
            yield from self._unturned(function)
            yield from self._advantages(function)
        if script.called & TURNS or any(_turns_round(part) for value in _bound(script) for part in value.within()):
            return
        for function in script.functions:
            for number, block in enumerate(function.blocks):
                if block.kind == "for" and block.value is not None and _is_rewards(block.value):
                    inside = [event for _, event in function.inside(number)]
                    for event in inside:
                        if event.value is not None and _accumulates(event, block) and _collected(inside, event.name):
                            message = f"adds up `{block.value}` from the first one on, discounting the future"
                            yield self.at(event.value, message, certain=not _is_scaled(function, block.value))

    def _unturned(self, function: Function) -> Iterator[Diagnostic]:
        """Returns that are rightly added up from the end, and then left in that order beside what is not turned round."""
        for number, block in enumerate(function.blocks):
            inside = [event for _, event in function.inside(number)] if block.kind == "for" else []
            for name in _appended(inside, block):
                pairs = (c for c in function.calls if c.name == "zip" and any(a.name == name for a in c.arguments))
                pair = next(pairs, None)
                if pair is not None and not _turned_later(function, block):
                    yield self.at(
                        pair,
                        f"pairs `{name}`, which begins with the last step, with what begins with the first",
                        certain=False,
                    )

    def _advantages(self, function: Function) -> Iterator[Diagnostic]:
        """Advantages that carry over from the step before, and not from the one behind: `A = delta + gamma * lam * A`."""
        for number, block in enumerate(function.blocks):
            over = block.value if block.kind == "for" else None
            if over is None or over.kind != "call" or over.name != "range" or _goes_back(over):
                continue
            inside = [event for _, event in function.inside(number)]
            step = next((e.name for e in inside if e.kind == "assign" and e.value and e.value.base is over), "")
            for event in inside:
                carries = event.kind == "assign" and event.value is not None and _carries(event)
                if carries and _looks_ahead(inside, step) and _is_stored(inside, event.name):
                    message = f"carries `{event.name}` over from the step before, and it discounts what is to come"
                    yield self.at(event, message, certain=False)

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


def _is_scaled(function: Function, rewards: Value) -> bool:
    """Whether the rewards themselves are gone through once more: what was added up may be what they are divided by."""
    walks = (value for value in function.values if value.kind == "comprehension")
    return any(part.name == rewards.name for value in walks for part in value.within())


def _turns_round(value: Value) -> bool:
    """`rewards[::-1]`, or `[reward] + rewards`."""
    if value.kind == "operation" and value.name == "+" and len(value.arguments) == 2:
        return value.arguments[0].kind == "list" and _is_rewards(value.arguments[1])
    return (
        value.kind == "item" and value.arguments[0].kind == "unknown" and any(p.constant == -1 for p in value.within())
    )


def _appended(inside: list[Event], block: Block) -> Iterator[str]:
    """The lists to which a loop from the end appends what it has added up."""
    over = block.value
    if over is None or not (_turns_round(over) or over.name == "reversed"):
        return
    sums = {e.name for e in inside if e.value is not None and (_accumulates(e, block) or _discounts(e))}
    for call in (e.value for e in inside if e.kind == "call" and e.value is not None):
        if call.method == "append" and call.arguments and call.arguments[0].name in sums and call.receiver is not None:
            yield call.receiver.name


def _discounts(event: Event) -> bool:
    """`R = gamma * R + r`, in either order and with masks."""
    value = event.value
    if event.kind != "assign" or value is None or value.name != "+":
        return False
    return any(event.name in names and any(map(DISCOUNT.search, names)) for names in map(_factors, value.arguments))


def _factors(product: Value) -> set[str]:
    """The names in a product."""
    inside = product.within() if product.name == "*" else ()
    return {part.name for part in inside if part.kind == "name"}


def _turned_later(function: Function, loop: Block) -> bool:
    """Whether anything else in the function is turned round, or taken from its end."""
    values = [part for part in function.values if loop.value is None or part not in set(loop.value.within())]
    return any(
        _turns_round(part) or (part.kind == "call" and (part.method in TURNS or part.method in ("insert", "sort")))
        for part in values
    )


def _goes_back(over: Value) -> bool:
    """`range(n - 1, -1, -1)`."""
    return len(over.arguments) == 3 or "-" in str(over)


def _carries(event: Event) -> bool:
    """Whether a name becomes something and a discount of what it was: `A = delta + gamma * lam * A`."""
    value = event.value
    if value is None or value.name != "+" or len(value.arguments) != 2:
        return False
    products = [names for part in value.arguments if event.name in (names := _factors(part))]
    rest = [part for part in value.arguments if event.name not in _factors(part)]
    return (
        len(products) == len(rest) == 1
        and any(map(DISCOUNT.search, products[0]))
        and DELTA.search(str(rest[0])) is not None
    )


def _looks_ahead(inside: list[Event], step: str) -> bool:
    """Whether the next item of something is read."""
    parts = (part for event in inside if event.value is not None for part in event.value.within())
    return bool(step) and any(
        p.kind == "item" and p.arguments[0].name == "+" and str(p.arguments[0]) == f"{step} + 1" for p in parts
    )


def _is_stored(inside: list[Event], name: str) -> bool:
    """Whether each pass keeps what has been carried over: in an item, or in a list."""
    items = any(e.kind == "assign" and "[" in e.name and e.value is not None and e.value.name == name for e in inside)
    return items or _collected(inside, name)


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
