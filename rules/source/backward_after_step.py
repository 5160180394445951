"""ML126."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule
from modellint.core.diagnostic import Problem
from modellint.source import lookup
from modellint.source.facts import Act, TrainingLoop, within


class BackwardAfterStep(SourceRule):
    """`backward()` goes through a model whose weights an optimizer has changed since it was called.

    Why: the graph was recorded with the old weights, and `step()` has written the new ones over them. PyTorch stops with
        "one of the variables needed for gradient computation has been modified by an inplace operation" where it
        notices; where it does not, the gradient belongs to neither the old model nor the new one.
    Fix: make all `backward()` calls of a forward before the first `step()`, or call the model again after it.
        A model that another function calls is only suspected: what that function returns may have come by another way.
    Ignore: never.
    Reported: https://github.com/pytorch/pytorch/issues/39141, https://github.com/MorvanZhou/PyTorch-Tutorial/issues/96
    """

    code, severity, certain, topic = "ML126", Severity.ERROR, True, "gradients"
    words = (".backward(",)
    bad = (
        """
        class Discriminator(nn.Module):
            def forward(self, x):
                return x

        generator, discriminator = nn.Linear(8, 8), Discriminator()
        optimizer_d = torch.optim.Adam(discriminator.parameters())
        optimizer_g = torch.optim.Adam(generator.parameters())
        for real in loader:
            optimizer_d.zero_grad()
            optimizer_g.zero_grad()
            score = discriminator(generator(noise()))
            d_loss = score.mean() - discriminator(real).mean()
            d_loss.backward(retain_graph=True)
            optimizer_d.step()
            g_loss = -score.mean()
            g_loss.backward()
            optimizer_g.step()
        """,
    )
    suspected = (
        """
        class Agent:
            def __init__(self):
                self.actor = nn.Linear(8, 2)
                self.critic = nn.Linear(10, 1)
                self.actor_optimizer = torch.optim.Adam(self.actor.parameters())
                self.critic_optimizer = torch.optim.Adam(self.critic.parameters())

            def losses(self, state, target):
                value = self.critic(torch.cat([state, self.actor(state)], 1))
                return (value - target).pow(2).mean(), -value.mean()

            def learn(self, state, target):
                critic_loss, actor_loss = self.losses(state, target)
                self.critic_optimizer.zero_grad()
                critic_loss.backward(retain_graph=True)
                self.critic_optimizer.step()
                self.actor_optimizer.zero_grad()
                actor_loss.backward()
                self.actor_optimizer.step()
        """,
        """
        class Agent:
            def __init__(self):
                self.policy, self.critic = nn.Linear(4, 2), nn.Linear(4, 1)
                self.policy_optimizer = torch.optim.Adam(self.policy.parameters())
                self.critic_optimizer = torch.optim.Adam(self.critic.parameters())

            def episode(self):
                states, log_probs, done = [self.reset()], [], False
                while not done:
                    scores = self.policy(states[-1]).log_softmax(-1)
                    action = scores.exp().multinomial(1)
                    log_probs.append(scores[action])
                    state, done = self.world(scores, action)  # no graph leads through the world
                    states.append(state)
                return torch.stack(log_probs), self.critic(torch.stack(states[1:])).squeeze(-1)

            def learn(self, returns):
                log_probs, values = self.episode()
                self.policy_optimizer.zero_grad()
                (-(returns - values.detach()) * log_probs).mean().backward()
                self.policy_optimizer.step()
                self.critic_optimizer.zero_grad()
                F.mse_loss(values, returns).backward()
                self.critic_optimizer.step()
        """,
    )
    good = (
        """
        def update(states, values):
            optimizer.zero_grad()
            F.mse_loss(model(states), values).backward()
            optimizer.step()

        model = nn.Linear(4, 1)
        optimizer = torch.optim.Adam(model.parameters())
        for state in states:
            kept = []
            for _ in range(20):
                results = model(state)
                results = [r.detach().numpy() for r in results]  # numbers: no graph leads back
                kept.append(results[0])
            update(numpy.stack(kept), values)
            update(numpy.stack(kept), hindsight)
        """,
        """
        def losses(policy, critic, x, y):
            return -policy(x).mean(), F.mse_loss(critic(x), y)

        policy, critic = nn.Linear(8, 2), nn.Linear(8, 1)
        policy_optimizer = torch.optim.Adam(policy.parameters())
        critic_optimizer = torch.optim.Adam(critic.parameters())
        for x, y in loader:
            policy_loss, critic_loss = losses(policy, critic, x, y)  # one call, two graphs
            policy_optimizer.zero_grad()
            policy_loss.backward()
            policy_optimizer.step()
            critic_optimizer.zero_grad()
            critic_loss.backward()
            critic_optimizer.step()
        """,
        """
        generator, discriminator = nn.Linear(8, 8), nn.Linear(8, 1)
        optimizer_d = torch.optim.Adam(discriminator.parameters())
        optimizer_g = torch.optim.Adam(generator.parameters())
        for real in loader:
            fake = generator(noise())
            optimizer_d.zero_grad()
            d_loss = discriminator(fake.detach()).mean() - discriminator(real).mean()
            d_loss.backward()
            optimizer_d.step()
            optimizer_g.zero_grad()
            g_loss = -discriminator(fake).mean()  # called again, with its new weights
            g_loss.backward()
            optimizer_g.step()
        """,
        """
        generator, discriminator = nn.Linear(8, 8), nn.Linear(8, 1)
        optimizer_g, optimizer_d = (torch.optim.Adam(net.parameters()) for net in (generator, discriminator))
        for real in loader:
            fake = generator(noise())
            optimizer_d.zero_grad()
            (discriminator(fake.detach()).mean() - discriminator(real).mean()).backward()
            optimizer_d.step()
            optimizer_g.zero_grad()
            (-discriminator(fake).mean()).backward()
            optimizer_g.step()
        """,
        """
        actor, critic = nn.Linear(8, 2), nn.Linear(8, 1)
        actor_optimizer = torch.optim.Adam(actor.parameters())
        critic_optimizer = torch.optim.Adam(critic.parameters())
        for state, reward in loader:
            value = critic(state)
            advantage = reward - value.detach()
            actor_loss = -(actor(state).log_softmax(1)[:, 0] * advantage).mean()
            critic_loss = (reward - value).pow(2).mean()
            actor_optimizer.zero_grad()
            actor_loss.backward()
            actor_optimizer.step()
            critic_optimizer.zero_grad()
            critic_loss.backward()  # of the critic, which has not been changed
            critic_optimizer.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 1), nn.Linear(8, 1)

            def forward(self, x):
                x = self.body(x)
                return self.one(x), self.two(x)

        net = Net()
        first, second = torch.optim.SGD(net.one.parameters(), 0.1), torch.optim.SGD(net.two.parameters(), 0.1)
        for x in loader:  # the second loss does not go through the head that was changed
            a, b = net(x)
            first.zero_grad()
            a.mean().backward(retain_graph=True)
            first.step()
            second.zero_grad()
            b.mean().backward()
            second.step()
        """,
        """
        class Agent:
            def __init__(self):
                self.actor, self.critic = nn.Linear(4, 2), nn.Linear(4, 2)
                self.actor_optimizer = torch.optim.Adam(self.actor.parameters())
                self.critic_optimizer = torch.optim.Adam(self.critic.parameters())

            def learn(self, state, action, target):
                q = self.critic(state)
                self.critic_optimizer.zero_grad()
                F.mse_loss(q.gather(1, action), target).backward()
                self.critic_optimizer.step()
                probabilities = self.actor(state).softmax(1)
                with torch.no_grad():
                    q = self.critic(state)
                self.actor_optimizer.zero_grad()
                (probabilities * (probabilities.log() - q)).sum(1).mean().backward()
                self.actor_optimizer.step()
        """,
        """
        model = nn.Linear(8, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        def loss(x):
            return model(x).pow(2).mean()
        for x in loader:
            for _ in range(2):
                optimizer.zero_grad()
                loss(x).backward()
                optimizer.step()
            optimizer.zero_grad()
            loss(x).backward()
            optimizer.step()
        """,
    )
    confirmed_by = Run(problem=Problem("RuntimeError: a variable has been modified by an inplace operation"))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for backward in loop.of("backward"):
                steps = [act for act in loop.before(backward) if act.kind == "step"]
                called = _behind(loop, backward) if steps else []
                changed = [model for model in called if any(_changes(loop, step, model, backward) for step in steps)]
                if changed:
                    here = any(lookup.share_function(script, model, backward) for model in changed)
                    message = "goes back through a model that `step()` has changed since it was called"
                    yield self.at(backward, message, certain=here)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        problem = run.problem
        if problem is None or "inplace operation" not in f"{problem.message} {problem.detail}":
            return None
        return Evidence("backward() met weights that were changed in place")


def _behind(loop: TrainingLoop, backward: Act) -> list[Act]:
    """The calls of models that the loss came through."""
    origins = {id(call) for call in backward.origins}
    return [act for act in loop.of("model") if act.parameters and id(act.call) in origins]


def _changes(loop: TrainingLoop, step: Act, model: Act, backward: Act) -> bool:
    """Whether a model of the step's optimizer was called before the step, and not since."""
    held = all(any(within(part, whole) for whole in step.parameters) for part in model.parameters)
    place = loop.place(step)
    if not held or loop.place(model) > place or model.excludes(step):
        return False
    since = (act for act in loop.acts[place + 1 : loop.place(backward)] if act.call is model.call)
    return all(act.excludes(step) or act.excludes(backward) for act in since)
