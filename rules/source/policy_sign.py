"""ML462."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.core.record import dataclass
from modellint.source import lookup, tensors
from modellint.source.ascent import ascends
from modellint.source.code import Function, Value
from modellint.source.facts import Summand, TrainingLoop
from modellint.source.sums import negated

GAIN = pattern(
    r"(\w+_)?(adv|advantages?|returns?|gaes?|rewards?|rews?|td_errors?|R|G|Gt|rets?|rtgs?|reward_to_go)(_\w+)?"
)
LIKELY = pattern(r"\w*log_?p(rob(s|abilit(y|ies))?)?(_\w+)?", re.IGNORECASE)
MEANT = pattern(
    r"unlearn|forget|negative_entropy|neg_entropy|cost|penalt|regret|adversar|antagonist|opponent|zero_?sum|(first|second)_player"
    r"|(^|_)(tour|route|tsp|vrp|makespan)",
    re.IGNORECASE,
)
WEIGHT = pattern(r"ent|beta|coef|weight|alpha|lam", re.IGNORECASE)
DEEPEST = 5  # names that one value is followed through
CHOICES = frozenset({"min", "minimum", "max", "maximum", "mean", "sum", "squeeze", "view", "flatten"})


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a loss whose sign is known: of a "policy", an "entropy", or the "value" of the policy's own action."""

    kind: str
    sign: int
    value: Value


class PolicySign(SourceRule):
    """A policy is trained away from what is rewarded, or towards a single action: a sign in its loss is reversed.

    Why: an optimizer lowers what it is given. The policy gradient is that of `-log_prob * advantage`; the value of the policy's own
        action enters as its negative, as the entropy does, which is to stay high. With the other sign the agent learns to
        avoid reward, or the policy collapses onto one action within a few updates.
    Fix: `-(log_prob * advantage)`, `-critic(state, actor(state))`, `- coefficient * entropy`.
    Ignore: where rewards are costs, or a coefficient is negative in a file that cannot be read.
    Reported: https://github.com/DLR-RM/stable-baselines3/issues/127, https://github.com/google-deepmind/open_spiel/issues/962,
        https://github.com/MrSyee/pg-is-all-you-need/issues/37
    """

    code, severity, certain, topic = "ML462", Severity.ERROR, False, "loss"
    words = (
        ("log_prob", "backward("),
        ("entropy()", "backward("),
        ("actor", "critic", "backward("),
        ("policy", ".sample(", "backward("),
    )
    bad = (
        """
        for obs, actions, old, adv in batches:
            dist = agent(obs)
            ratio = (dist.log_prob(actions) - old).exp()
            loss = torch.max(-adv * ratio, -adv * ratio.clamp(0.8, 1.2)).mean() + args.ent_coef * dist.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Critic(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.first, self.second = nn.Linear(width, 1), nn.Linear(width, 1)

            def forward(self, s, a):
                return self.first(torch.cat([s, a], 1)), self.second(torch.cat([s, a], 1))

            def one(self, s, a):
                return self.first(torch.cat([s, a], 1))

        actor, critic = nn.Linear(8, 2), Critic(10)
        critic_optimizer = torch.optim.Adam(critic.parameters())
        actor_optimizer = torch.optim.Adam(actor.parameters())
        for state, action, reward, following in memory:
            q1, q2 = critic(state, action)
            goal = reward + 0.99 * value(following)
            critic_optimizer.zero_grad()
            (F.mse_loss(q1, goal) + F.mse_loss(q2, goal)).backward()
            critic_optimizer.step()
            actor_loss = critic.one(state, actor(state)).mean()
            actor_optimizer.zero_grad()
            actor_loss.backward()
            actor_optimizer.step()
        """,
        """
        for states, actions, returns in episodes:
            dist = torch.distributions.Categorical(logits=policy(states))
            loss = (dist.log_prob(actions) * returns).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def finish(saved, returns):
            losses = []
            for log_prob, R in zip(saved, returns):
                losses.append(log_prob * R)
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()

        def act(state):
            m = torch.distributions.Categorical(policy(state))
            action = m.sample()
            saved.append(m.log_prob(action))
            return action

        for episode in range(100):
            saved, rewards = [], []
            for t in range(200):
                state, reward, done = env.step(act(state))
                rewards.append(reward)
            returns = discounted(rewards)
            finish(saved, returns)
        """,
        """
        for obs, actions, old, advantages, returns in batches:
            dist, value = agent(obs)
            ratio = (dist.log_prob(actions) - old).exp()
            policy_loss = -torch.min(ratio * advantages, ratio.clamp(1 - eps, 1 + eps) * advantages).mean()
            loss = policy_loss + 0.5 * F.mse_loss(value, returns) + 0.01 * dist.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for state, action, reward, after, done in replay:
            with torch.no_grad():
                goal = reward + gamma * (1 - done) * target_critic(after, target_actor(after))
            critic_loss = F.mse_loss(critic(state, action), goal)
            critic_optimizer.zero_grad()
            critic_loss.backward()
            critic_optimizer.step()
            actor_loss = critic(state, actor(state)).mean()
            actor_optimizer.zero_grad()
            actor_loss.backward()
            actor_optimizer.step()
        """,
    )
    good = (
        """
        for obs, acts, returns in batches:
            m = torch.distributions.Categorical(second_player(obs))
            loss = (m.log_prob(acts) * returns).mean()  # a zero-sum game: what the first wins is lost
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
        """
        def act(state):
            m = torch.distributions.Categorical(policy(state))
            action = m.sample()
            saved.append(-m.log_prob(action))
            return action.item()
        def finish(saved, returns):
            losses = []
            for log_prob, R in zip(saved, returns):
                losses.append(log_prob * R)
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
        for episode in range(100):
            saved, rewards = [], []
            for t in range(200):
                state, reward, done = env.step(act(state))
                rewards.append(reward)
            finish(saved, discounted(rewards))
        """,
        """
        for expert, states, actions in loader:
            m = torch.distributions.Normal(policy(states), 1.0)
            log_prob = m.log_prob(actions)
            rewards = reward_net(states, actions)
            reward_loss = -reward_net(expert).mean() + (torch.exp(log_prob.detach()) * rewards).mean()
            opt.zero_grad()
            reward_loss.backward()
            opt.step()
        """,
        """
        ENT = -0.01
        for obs, actions, advantages in batches:
            m = torch.distributions.Categorical(logits=policy(obs))
            loss = -(m.log_prob(actions) * advantages).mean() + ENT * m.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def negated(rewards):
            out, g = [], 0
            for r in reversed(rewards):
                g = -r + 0.99 * g
                out.insert(0, g)
            return torch.tensor(out)
        for states, actions, rewards in episodes:
            m = torch.distributions.Categorical(policy(states))
            returns = negated(rewards)
            loss = (m.log_prob(actions) * returns).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Agent:
            def act(self, state):
                m = torch.distributions.Categorical(self.policy(state))
                action = m.sample()
                return action, -m.log_prob(action)
            def learn(self, episodes):
                for states, returns in episodes:
                    action, log_prob = self.act(states)
                    loss = (log_prob * returns).mean()
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
        """,
        """
        for static, dynamic in loader:
            m = torch.distributions.Categorical(actor(static, dynamic))
            tour_logp = m.log_prob(m.sample())
            reward = reward_fn(static, m)
            critic_est = critic(static).view(-1)
            advantage = (reward - critic_est)
            actor_loss = torch.mean(advantage.detach() * tour_logp)
            actor_optim.zero_grad()
            actor_loss.backward()
            actor_optim.step()
        """,
        """
        def train(model, loader, optimizer, config):
            for x, y in loader:
                mean, logvar, entropy = model(x)
                KL = torch.pow(mean, 2).sum(axis=1) * entropy.entropy()
                KL -= logvar.sum(axis=1)
                KL *= 0.5
                KL = KL.mean()
                align = F.binary_cross_entropy(mean, y, reduction="none").sum(axis=1).mean()
                MI = 0.
                MI = MI.mean() * 1  # of itself
                ratio = ratio.clamp(0.8, 1.2)  # the same
                loss = align + config["beta"] * KL + ratio * advantages
                loss += config["gamma"] * MI
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        """,
        """
        for states, actions, returns in episodes:
            dist = torch.distributions.Categorical(logits=policy(states))
            loss = -(dist.log_prob(actions) * returns).mean() - 0.01 * dist.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for states, actions, returns in episodes:
            dist = torch.distributions.Categorical(logits=policy(states))
            log_prob = -dist.log_prob(actions)
            entropy_loss = -dist.entropy().mean()
            loss = (log_prob * returns).mean() + 0.01 * entropy_loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(policy.parameters(), maximize=True)
        for states, actions, returns in episodes:
            dist = torch.distributions.Categorical(logits=policy(states))
            loss = (dist.log_prob(actions) * returns).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for state, action, reward, after, done in replay:
            with torch.no_grad():
                goal = reward + gamma * (1 - done) * target_critic(after, target_actor(after))
            critic_loss = F.mse_loss(critic(state, action), goal)
            critic_optimizer.zero_grad()
            critic_loss.backward()
            critic_optimizer.step()
            actor_loss = (alpha * log_prob - torch.min(critic(state, actor(state)), other)).mean()
            actor_optimizer.zero_grad()
            actor_loss.backward()
            actor_optimizer.step()
        """,
        """
        for x, y in loader:  # a classifier that is to be sure of itself
            dist = torch.distributions.Categorical(logits=model(x))
            loss = F.cross_entropy(dist.logits, y) + 0.1 * dist.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for states, actions, returns in episodes:
            logp = policy.log_prob(states, actions)
            advantage = baseline(states) - returns
            loss = (logp * advantage.detach()).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not script.training_loops or any(map(MEANT.search, _names(script))) or ascends(script):
            return
        told = set()
        for loop in script.training_loops:
            for backward in loop.of("backward"):
                if backward.call.method == "backward" and backward.call.arguments and not backward.owner:
                    continue  # from a gradient that may be a minus
                terms = [term for part in backward.summands if (term := _term(script, loop, part)) is not None]
                for term in terms:
                    place = backward.call if term.kind == "entropy" else term.value
                    if place.location not in told and (message := _judge(terms, term)):
                        told.add(place.location)
                        yield self.at(place, message)


def _judge(terms: list[Term], term: Term) -> str:
    trained = any(other.kind == "policy" and other.sign < 0 for other in terms)
    if term.sign > 0 and term.kind == "entropy" and trained:
        return "lowers the entropy of the policy, where a bonus is to keep it high: its sign is reversed"
    if term.sign > 0 and term.kind == "policy":
        return "makes likely what is not rewarded: the log-probability enters the loss without a minus"
    if term.sign > 0 and term.kind == "value":
        return "lowers the value of the policy's own actions: it enters the loss without a minus"
    return ""


def _names(script: Script) -> Iterator[str]:
    """All that is called by a name, in which a cost or an adversary may be told."""
    yield from (*script.attributes, *script.called)
    yield from (event.name for function in script.functions for event in function.events if event.kind != "call")
    yield from (parameter.name for function in script.functions for parameter in function.parameters)


def _term(script: Script, loop: TrainingLoop, part: Summand) -> Term | None:
    value = part.value
    if part.cut is not None or value.location.path != script.path:
        return None
    function = lookup.function(script, value.location)
    if value.kind == "call" and value.method == "append" and value.arguments:
        value = value.arguments[0]  # to a list that is summed
    if function is None:
        return None
    sign, factors = _factors(function, value, part.written)
    if any(f.kind == "call" and f.method == "entropy" and not f.arguments for f in factors):
        return Term("entropy", 0 if _is_weighed_down(script) else sign, part.value)
    likely = [f for f in factors if _is_likelihood(script, function, f)]
    gains = [f for f in factors if _is_gain(function, f)]
    if len(likely) == 1 and gains and part.sign and (sign < 0 or not _is_negated(script)):
        return Term("policy", sign, part.value)
    if len(factors) == 1 and _values_policy(script, function, factors[0], loop) and part.sign:
        return Term("value", sign, part.value)
    within = lookup.function(script, part.given.location) if part.given is not None else None  # of `critic.Q1(s, a)`
    if part.given is not None and within is not None and _values_policy(script, within, part.given, loop):
        return Term("value", part.sign, part.given)
    return None


def _factors(function: Function, value: Value, sign: int) -> tuple[int, list[Value]]:
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


def _read(function: Function, value: Value) -> Value:
    """What a name is bound to, if that is computed and the name does not tell what is good."""
    for _ in range(DEEPEST):
        value = tensors.bare(value)
        made = tensors.bound(function, value.name) if value.kind == "name" else None
        known = GAIN.fullmatch(value.method) or LIKELY.fullmatch(value.method)
        part = (
            made is not None
            and made.kind == "item"
            and made.base is not None
            and made.base.kind == "call"
            and not known
        )
        if made is None or GAIN.fullmatch(value.method) or not (part or made.kind in ("operation", "call", "name")):
            break
        value = made
    return value


def _is_likelihood(script: Script, function: Function, value: Value) -> bool:
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


def _name(value: Value) -> str:
    return value.method if value.kind == "name" else str(value.base).rpartition(".")[2]


def _turned(script: Script, method: str) -> bool:
    """Whether some name of a log-probability may hold its negative, as it is kept or returned so."""
    inner = _negatives(script)
    return any((v.kind == "call" and v.method == method) or LIKELY.fullmatch(v.method) for v in inner)


def _is_negated(script: Script) -> bool:
    """Whether rewards are turned into costs: `-reward`."""
    return any(v.kind == "name" and (v.method == "r" or GAIN.fullmatch(v.method)) for v in _negatives(script))


def _negatives(script: Script) -> Iterator[Value]:
    """All that is taken with a minus."""
    inner = (negated(part) for function in script.functions for part in function.values)
    return (tensors.bare(value) for value in inner if value is not None)


def _is_weighed_down(script: Script) -> bool:
    """Whether a coefficient is written as a negative number: its name tells nothing of the sign."""
    bound = (e.value for f in script.functions for e in f.events if e.kind == "assign" and WEIGHT.search(e.name))
    default = (p.default for f in script.functions for p in f.parameters if WEIGHT.search(p.name))
    return any(value is not None and str(value).startswith("-") for value in (*bound, *default))


def _is_gain(function: Function, value: Value, follow: bool = True) -> bool:
    """What is good in large amounts: rewards, returns, and what they are above a baseline."""
    value = tensors.bare(value)
    if value.kind == "name":
        made = tensors.bound(function, value.name) if follow else None
        plain = made is None or made.name not in ("-", "/") or _is_gain(function, made, follow=False)
        return GAIN.fullmatch(value.method) is not None and plain
    if value.kind == "item" and value.base is not None:
        return _is_gain(function, value.base, follow)
    if value.kind == "operation" and value.name in ("-", "/") and len(value.arguments) == 2:
        first, second = (_is_gain(function, side, follow) for side in value.arguments)
        return first and (value.name == "/" or not second or str(value.arguments[0]) in str(value.arguments[1]))
    return False


def _values_policy(script: Script, function: Function, score: Value, loop: TrainingLoop) -> bool:
    """Whether it is what a critic gives for the action of another model, and that critic learns of rewards."""
    if score.kind != "call" or score.name.startswith("torch.") or len(score.arguments) < 2:
        return False
    models = {id(act.call) for act in loop.of("model")}
    made = [v for given in score.arguments for v in tensors.origins(function, given)]
    acted = any((id(v) in models or "actor" in v.name or "polic" in v.name) and v.kind == "call" for v in made)
    return acted and any(_learns(script, part, score) for act in loop.of("backward") for part in act.summands)


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
