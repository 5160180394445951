"""ML186."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Event, Function, Value

DONE = pattern(r"(?:\w+_)?(?:dones?|terminals?|terminated|terminations?)(?:_\w+)?", re.IGNORECASE)
GOES_ON = pattern(r"mask|not_?done|non_?(?:final|terminal)|continu", re.IGNORECASE)
TERMINAL = pattern(r"terminal|(^|_)done|dones?$", re.IGNORECASE)
REWARD = pattern(r"(?:\w+_)?(?:r|rs|rew|rews|rewards?)(?:_\w+)?", re.IGNORECASE)
ONE = pattern(r"episode|traj|path", re.IGNORECASE)  # that ends where the recursion begins
DISCOUNT = pattern(r"gamma|discount", re.IGNORECASE)
ADVANTAGE = (
    pattern(rb"delta[^\n]*\+[^\n]*(?:gae|GAE|lam)"),
    *(pattern(rb"%s[^\n]*\+ *\w*delta" % name) for name in (b"gae", b"GAE", b"lam")),
)


class TerminalIgnored(SourceRule):
    """The value of the state after the last one is counted: the target never asks whether the episode has ended.

    Why: `reward + gamma * q(next_state)` holds within an episode. After its last step there is no next state; what the
        buffer holds in its place is the end or the start of another episode, whose value flows back into a state that has
        none. The values grow too large, and the agent does not learn that failing is bad.
    Fix: multiply the bootstrapped value by `(1 - done)`.
        A sum over the steps that goes on over the end of an episode is only suspected in a file that breaks off its loop
        where an episode ends: what it sums up may be one episode.
    Ignore: where episodes only end by a limit of time, which says nothing of the state: then the value is to be counted.
    Reported: https://github.com/navneet-nmk/pytorch-rl/issues/2, https://github.com/seungeunrho/minimalRL/issues/32,
        https://github.com/cyoon1729/deep-Q-networks/pull/6
    """

    code, severity, topic = "ML186", Severity.WARNING, "loss"
    words = (
        *(
            (done, gamma, "backward(", "torch")
            for done in ("done", "termina")
            for gamma in ("gamma", "GAMMA", "discount")
        ),
        *(("delta", advantage) for advantage in ADVANTAGE),
    )
    bad = (
        """
        def advantages(rewards, values, dones, last, gamma=0.99, lam=0.95):
            gae, found = 0, []
            for t in reversed(range(len(rewards))):
                mask = 1.0 - dones[t]
                delta = rewards[t] + gamma * values[t + 1] * mask - values[t]
                gae = delta + gamma * lam * gae
                found.insert(0, gae)
            return found
        """,
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
        gae = +delta
        """,
        """
        def advantages(rewards, values, dones, gamma=0.99, lam=0.95):
            gae, found = torch.zeros(8), []
            for t in reversed(range(len(rewards))):
                mask = 1.0 - dones[t]
                delta = rewards[t] + gamma * values[t + 1] * mask - values[t]
                gae *= mask
                gae = delta + gamma * lam * gae
                found.insert(0, gae)
            return found
        """,
        """
        def advantages(rewards, values, dones, gamma=0.99, lam=0.95):
            gae, found = 0, []
            for t in reversed(range(len(rewards))):
                nonterminal = 1.0 - dones[t]
                discount = gamma * nonterminal
                delta = rewards[t] + gamma * values[t + 1] * nonterminal - values[t]
                gae = delta + discount * lam * gae
                found.insert(0, gae)
            return found
        """,
        """
        def advantages(rewards, values, dones, last, gamma=0.99, lam=0.95):
            gae, found = 0, []
            for t in reversed(range(len(rewards))):
                not_done = 1.0 - dones[t]
                delta = rewards[t] + gamma * values[t + 1] * not_done - values[t]
                gae = delta + gamma * lam * not_done * gae
                found.insert(0, gae)
            return found
        """,
        """
        def advantages(rewards, values, dones, gamma=0.99, lam=0.95):
            gae, found = 0, []
            for t in reversed(range(len(rewards))):
                if dones[t]:
                    gae = 0
                delta = rewards[t] + gamma * values[t + 1] * (1 - dones[t]) - values[t]
                gae = delta + gamma * lam * gae
                found.insert(0, gae)
            return found
        """,
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

    suspected = (
        """
        def advantages_of_episode(rewards, values, dones, gamma=0.99, lam=0.95):
            gae, found = 0, []
            for t in reversed(range(len(rewards))):
                delta = rewards[t] + gamma * values[t + 1] * (1 - dones[t]) - values[t]
                gae = delta + gamma * lam * gae
                found.insert(0, gae)
            return found
        """,
        """
        class Agent:
            def advantages(self, rewards, values, dones):
                gae, found = 0, []
                for t in reversed(range(len(rewards))):
                    delta = rewards[t] + self.gamma * values[t + 1] * (1 - dones[t]) - values[t]
                    gae = delta + self.gamma * self.tau * gae
                    found.insert(0, gae)
                return found

            def train(self, env):
                rewards, dones, values = [], [], []
                state, _ = env.reset()
                while True:
                    state, reward, terminated, truncated, _ = env.step(self.act(state))
                    rewards.append(reward)
                    dones.append(terminated or truncated)
                    values.append(self.value(state))
                    if terminated or truncated:
                        break
                self.learn(self.advantages(rewards, values, dones))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for total, message in _recursions(function):
                one = ONE.search(" ".join((function.name, *(p.name for p in function.parameters)))) is not None
                yield self.at(total, message, certain=not one and not _takes_single_episodes(script))
            loaded = {e.name: e.value for e in function.events if e.kind == "assign" and e.value and _tells(e)}
            if loaded:
                goal = next(_bootstraps(function), None)
                if goal is not None and not set(_read(function)) & set(loaded) and not _knows_otherwise(function):
                    name = next(iter(loaded))
                    yield self.at(
                        goal, f"counts the value of the next state whether or not the episode ended: `{name}` is unread"
                    )


def _tells(event: Event) -> bool:
    """Whether the end of an episode is bound to a name; to the `d` of `s, a, r, s2, d` as well."""
    part = event.name == "d" and event.value is not None and event.value.kind == "item"
    return part or DONE.fullmatch(event.name) is not None


def _recursions(function: Function) -> Iterator[tuple[Value, str]]:
    """The sums `gae = delta + gamma * lam * gae` that lack the mask by which delta itself ends at the end of an episode."""
    bound = _bound_in(function)
    for event in function.events:
        total = event.value
        if event.kind != "assign" or total is None or total.name != "+" or len(total.arguments) != 2:
            continue
        delta, later = total.arguments
        names = {part.name for part in later.within() if part.kind == "name"}
        made = tensors.bound(function, delta.name) if delta.kind == "name" else None
        own = made is not None and event.name in names and any(DISCOUNT.search(name) for name in names)
        masks = {str(part) for part in made.within() if _ends(part)} if own and made is not None else set()
        loop = next((b for b in function.enclosing(event.block) if function.blocks[b].is_loop), -1)
        reset = bound[event.name, loop] > 1
        if masks and not reset and not any(map(_ends, _told(function, later, event.name))):
            yield total, f"`{delta}` ends with the episode, and `{event.name}` goes on into the next"


def _bound_in(function: Function) -> Counter[tuple[str, int]]:
    """How often each loop binds each name."""
    return Counter(
        (event.name, block)
        for event in function.events
        if event.kind in ("assign", "augment")
        for block in function.enclosing(event.block)
        if function.blocks[block].is_loop
    )


def _takes_single_episodes(script: Script) -> bool:
    """Whether loops over steps end with the episode (`while not done`, `if done: break`), and none begins another then."""
    marks = [mark for function in script.functions for mark in _at_ends(function)]
    return bool(marks) and "reset" not in marks


def _at_ends(function: Function) -> Iterator[str]:
    """What is done where an episode ends: "while", "break", "reset"."""
    ends = {i for i, b in enumerate(function.blocks) if b.value is not None and any(map(_ends, b.value.within()))}
    yield from ("while" for block in ends if function.blocks[block].kind == "while")
    for event in function.events:
        made = event.value.method if event.kind == "call" and event.value is not None else event.name
        if event.block in ends and function.blocks[event.block].kind == "if" and made in ("break", "reset"):
            yield made


def _told(function: Function, later: Value, total: str) -> Iterator[Value]:
    """What a product is made of, but for the sum that it goes on with."""
    for part in later.within():
        yield part
        made = tensors.bound(function, part.name) if part.kind == "name" and part.name != total else None
        yield from made.within() if made is not None else ()


def _ends(value: Value) -> bool:
    """Whether it tells that an episode ended, or that it did not."""
    name = value.method if value.kind == "name" else ""
    return bool(name) and (GOES_ON.search(name) or DONE.fullmatch(name) or TERMINAL.search(name)) is not None


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
