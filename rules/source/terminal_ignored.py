"""ML186."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Function, Value

DONE = pattern(r"(?:\w+_)?(?:dones?|terminals?|terminated|terminations?)(?:_\w+)?", re.IGNORECASE)
GOES_ON = pattern(r"mask|not_?done|non_?(?:final|terminal)|continu", re.IGNORECASE)
REWARD = pattern(r"(?:\w+_)?(?:r|rs|rew|rews|rewards?)(?:_\w+)?", re.IGNORECASE)
DISCOUNT = pattern(r"gamma|discount", re.IGNORECASE)


class TerminalIgnored(SourceRule):
    """The value of the state after the last one is counted: the target never asks whether the episode has ended.

    Why: `reward + gamma * q(next_state)` holds within an episode. After its last step there is no next state; what the
        buffer holds in its place is the end or the start of another episode, whose value flows back into a state that has
        none. The values grow too large, and the agent does not learn that failing is bad.
    Fix: multiply the bootstrapped value by `(1 - done)`.
    Ignore: where episodes only end by a limit of time, which says nothing of the state: then the value is to be counted.
    Reported: https://github.com/navneet-nmk/pytorch-rl/issues/2, https://github.com/seungeunrho/minimalRL/issues/32,
        https://github.com/cyoon1729/deep-Q-networks/pull/6
    """

    code, severity, topic = "ML186", Severity.WARNING, "loss"
    words = tuple(
        (done, gamma, "backward(", "torch") for done in ("done", "termina") for gamma in ("gamma", "GAMMA", "discount")
    )
    bad = (
        """
        def learn(q, target, buffer, optimizer, gamma):
            states, actions, rewards, after, dones = buffer.sample(64)
            dones = torch.FloatTensor(dones)
            with torch.no_grad():
                best = target(after).max(1).values
                goal = rewards + gamma * best
            loss = F.mse_loss(q(states).gather(1, actions).squeeze(1), goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Agent:
            def update(self, batch):
                state, action = batch["state"], batch["action"]
                reward, after = batch["reward"], batch["after"]
                done = torch.as_tensor(batch["done"], dtype=torch.float32)
                value = self.target_critic(after, self.target_actor(after)).detach()
                loss = F.mse_loss(self.critic(state, action), reward + self.gamma * value)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
        """,
        """
        class Agent:
            def compute_loss(self, batch):
                states, actions, rewards, after, dones = batch
                best = torch.max(self.model.forward(after), 1)[0]
                goal = rewards.squeeze(1) + self.gamma * best
                return F.mse_loss(self.model.forward(states).gather(1, actions), goal)

            def update(self, batch):
                self.optimizer.zero_grad()
                self.compute_loss(batch).backward()
                self.optimizer.step()
        """,
    )
    good = (
        """
        def learn(q, target, buffer, optimizer, gamma):
            states, actions, rewards, after, dones = buffer.sample(64)
            with torch.no_grad():
                goal = rewards + gamma * target(after).max(1).values * (1 - dones)
            loss = F.mse_loss(q(states).gather(1, actions).squeeze(1), goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def learn(q, target, buffer, optimizer, gamma):
            states, actions, rewards, after, dones = buffer.sample(64)
            best = target(after).max(1).values.detach()
            best[dones] = 0.0
            loss = F.mse_loss(q(states).gather(1, actions).squeeze(1), rewards + gamma * best)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def learn(q, target, buffer, optimizer):
            states, actions, rewards, after, dones, discounts = buffer.sample(64)  # 0 at the end of an episode
            best = target(after).max(1).values.detach()
            loss = F.mse_loss(q(states).gather(1, actions).squeeze(1), rewards + discounts * best)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def learn(q, target, buffer, optimizer, gamma):
            states, actions, rewards, after, dones = buffer.sample(64)
            best = ended(target(after).max(1).values.detach(), dones)
            loss = F.mse_loss(q(states).gather(1, actions).squeeze(1), rewards + gamma * best)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def collect(env, policy, optimizer, gamma):
            done, total = False, 0.0
            while not done:
                state, reward, done, _ = env.step(policy(state))
                total = reward + gamma * total
            loss = -total * policy.log_prob
            loss.backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            loaded = {
                e.name: e.value for e in function.events if e.kind == "assign" and DONE.fullmatch(e.name) and e.value
            }
            if loaded:
                goal = next(_bootstraps(function), None)
                if goal is not None and not set(_read(function)) & set(loaded) and not _knows_otherwise(function):
                    name = next(iter(loaded))
                    yield self.at(
                        goal, f"counts the value of the next state whether or not the episode ended: `{name}` is unread"
                    )


def _bootstraps(function: Function) -> Iterator[Value]:
    """The sums of a reward and a discounted value that some call gives."""
    for event in function.events:
        for part in event.value.within() if event.value is not None else ():
            if part.kind == "operation" and part.name == "+" and len(part.arguments) == 2:
                reward, later = part.arguments
                if REWARD.fullmatch(tensors.bare(reward).method) and later.kind == "operation" and later.name == "*":
                    discounted = any(DISCOUNT.search(p.name) for p in later.within() if p.kind in ("name", "attribute"))
                    if discounted and any(p.kind == "call" for p in tensors.computed(function, later)):
                        yield part


def _read(function: Function) -> Iterator[str]:
    """The names that are read, but for those from which the same name is bound anew: `done = torch.tensor(done)`."""
    own = {
        id(part)
        for event in function.events
        if event.kind == "assign" and event.value is not None and DONE.fullmatch(event.name)
        for part in event.value.within()
    }
    values = (*(event.value for event in function.events), *(block.value for block in function.blocks))
    yield from (
        part.name
        for value in values
        if value is not None and id(value) not in own
        for part in value.within()
        if part.kind == "name"
    )


def _knows_otherwise(function: Function) -> bool:
    """Whether something else tells where an episode ends: a mask, a discount for each step."""
    names = [e.name for e in function.events if e.kind in ("assign", "augment")]
    return any(GOES_ON.search(name) or DISCOUNT.search(name) or "[" in name for name in names)
