"""ML462."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.core.record import dataclass
from modellint.source import lookup, policies
from modellint.source.ascent import ascends
from modellint.source.code import Value
from modellint.source.facts import Summand, TrainingLoop

MEANT = pattern(
    r"unlearn|forget|negative_entropy|neg_entropy|cost|penalt|regret|adversar|antagonist|opponent|zero_?sum|(first|second)_player"
    r"|(^|_)(tour|route|tsp|vrp|makespan)",
    re.IGNORECASE,
)
WEIGHT = pattern(r"ent|beta|coef|weight|alpha|lam", re.IGNORECASE)


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
    sign, factors = policies.factors(function, value, part.written)
    if any(f.kind == "call" and f.method == "entropy" and not f.arguments for f in factors):
        return Term("entropy", 0 if _is_weighed_down(script) else sign, part.value)
    likely = [f for f in factors if policies.is_likelihood(script, function, f)]
    gains = [f for f in factors if policies.is_gain(function, f)]
    if len(likely) == 1 and gains and part.sign and (sign < 0 or not policies.is_negated(script)):
        return Term("policy", sign, part.value)
    if len(factors) == 1 and policies.values_actions(script, function, factors[0], loop) and part.sign:
        return Term("value", sign, part.value)
    within = lookup.function(script, part.given.location) if part.given is not None else None  # of `critic.Q1(s, a)`
    if part.given is not None and within is not None and policies.values_actions(script, within, part.given, loop):
        return Term("value", part.sign, part.given)
    return None


def _is_weighed_down(script: Script) -> bool:
    """Whether a coefficient is written as a negative number: its name tells nothing of the sign."""
    bound = (e.value for f in script.functions for e in f.events if e.kind == "assign" and WEIGHT.search(e.name))
    default = (p.default for f in script.functions for p in f.parameters if WEIGHT.search(p.name))
    return any(value is not None and str(value).startswith("-") for value in (*bound, *default))
