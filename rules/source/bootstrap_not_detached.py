"""ML170."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Act, Loss, TrainingLoop

REWARDS = pattern(r"reward|gamma|discount|next_state|next_obs|terminal|done", re.IGNORECASE)
REGRESSIONS = ("MSELoss", "SmoothL1Loss", "HuberLoss", "L1Loss")
NEXT = pattern(
    r"(?:\w+[._])?(?:next|following|future)(?:_\w+)?|(?:s|state|obs|x)(?:2|_prime|_next|_)|(?:\w+)?next(?:\w+)?"
)
BEST = frozenset({"max", "amax", "gather", "min", "minimum"})


class BootstrapNotDetached(SourceRule):
    """The target of a value function is computed by the network that learns it, with its graph: the goal moves towards it.

    Why: `reward + gamma * q(next_state).max()` is to be taken as it is. With its graph, the optimizer lowers the error by
        changing the target as well, the values of later states are pulled down to those of earlier ones, and what is
        learned is not the value function.
    Fix: compute the target under `torch.no_grad()` (best with a target network that follows slowly), or `.detach()` it.
    Ignore: residual gradients on purpose. A separate target network that no optimizer holds is not reported.
    Reported: https://github.com/datawhalechina/easy-rl/pull/117, https://github.com/AgileRL/AgileRL/pull/63
    """

    code, severity, certain, topic = "ML170", Severity.WARNING, True, "gradients"
    words = tuple((".backward(", loss) for loss in ("mse_loss", "smooth_l1_loss", "huber_loss", *REGRESSIONS))
    bad = (
        """
        q = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
        optimizer = torch.optim.Adam(q.parameters())
        for state, action, reward, after, done in memory:
            value = q(state).gather(1, action).squeeze(1)
            target = reward + 0.99 * q(after).max(1)[0] * (1 - done)
            loss = F.smooth_l1_loss(value, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Agent:
            def __init__(self):
                self.net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
                self.optimizer = torch.optim.Adam(self.net.parameters())
                self.criterion = nn.MSELoss()

            def learn(self, batch):
                state, action, reward, after = batch
                best = torch.max(self.net(after), dim=1).values
                goal = reward + self.gamma * best
                loss = self.criterion(self.net(state).gather(1, action).squeeze(1), goal)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
        """,
    )
    suspected = """
        critic = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1))
        optimizer = torch.optim.Adam(critic.parameters())
        for obs, reward, next_obs, done in rollouts:
            target = reward + gamma * (1 - done) * critic(next_obs).squeeze(1)
            optimizer.zero_grad()
            F.mse_loss(critic(obs).squeeze(1), target).backward()
            optimizer.step()
        """
    good = (
        """
        q = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
        optimizer = torch.optim.Adam(q.parameters())
        for state, action, reward, after, done in memory:
            value = q(state).gather(1, action).squeeze(1)
            target = reward + 0.99 * q(after).max(1)[0].detach() * (1 - done)
            optimizer.zero_grad()
            F.smooth_l1_loss(value, target).backward()
            optimizer.step()
        """,
        """
        q = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
        optimizer = torch.optim.Adam(q.parameters())
        for state, action, reward, after, done in memory:
            with torch.no_grad():
                target = reward + 0.99 * q(after).max(1)[0] * (1 - done)
            optimizer.zero_grad()
            F.mse_loss(q(state).gather(1, action).squeeze(1), target).backward()
            optimizer.step()
        """,
        """
        q, target_q = nn.Linear(4, 2), nn.Linear(4, 2)
        optimizer = torch.optim.Adam(q.parameters())
        for state, action, reward, after, done in memory:
            target = reward + 0.99 * target_q(after).max(1)[0] * (1 - done)
            optimizer.zero_grad()
            F.mse_loss(q(state).gather(1, action).squeeze(1), target).backward()
            optimizer.step()
        """,
        """
        q = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
        optimizer = torch.optim.Adam(q.parameters())
        for state, action, reward, after, done in memory:
            target = reward + 0.99 * q(after).max(1)[0] * (1 - done)
            optimizer.zero_grad()
            F.mse_loss(q(state).gather(1, action).squeeze(1), target.detach()).backward()
            optimizer.step()
        """,
        """
        model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
        optimizer = torch.optim.Adam(model.parameters())
        for x, gamma in loader:  # the two halves of one model are to agree
            optimizer.zero_grad()
            F.mse_loss(model(x), 0.5 + gamma * model(flip(x)).mean(1)).backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        rewarded = script.training_loops and any(map(REWARDS.search, (*script.attributes, *_names(script))))
        if not rewarded:
            return
        for loop in script.training_loops:
            for backward in loop.of("backward"):
                for loss in script.losses:
                    if loss.kind in REGRESSIONS and any(origin is loss.call for origin in backward.origins):
                        yield from self._judge(script, loop, backward, loss)

    def _judge(self, script: Script, loop: TrainingLoop, backward: Act, loss: Loss) -> Iterator[Diagnostic]:
        function = next((f for f in script.functions if any(call is loss.call for call in f.calls)), None)
        target = loss.call.argument(1, "target")
        if function is None or target is None:
            return
        held = {name for step in loop.steps for name in step.parameters}
        bootstraps = list(_bootstraps(function, target))
        followed = {id(part): best for best in bootstraps for part in tensors.computed(function, best)}
        for act in loop.of("model"):
            flows = id(act.call) in followed and any(origin is act.call for origin in backward.origins)
            if flows and act.parameters and held.issuperset(act.parameters):
                best = followed[id(act.call)].method in BEST
                message = f"computes the target by `{act.call.name}`, which learns it, without a detach()"
                yield self.at(act, message, certain=best)
                return


def _names(script: Script) -> Iterator[str]:
    return (event.name for function in script.functions for event in function.events if event.kind == "assign")


def _bootstraps(function: Function, target: Value) -> Iterator[Value]:
    """The best values of later states in `reward + gamma * best`."""
    for part in tensors.computed(function, target):
        rewarded = part.kind == "operation" and part.name == "+" and any(map(REWARDS.search, _read(part)))
        products = (
            (p for p in tensors.computed(function, part) if p.kind == "operation" and p.name == "*") if rewarded else ()
        )
        for product in products:
            calls = [p for p in tensors.computed(function, product) if p.kind == "call"]
            yield from (p for p in calls if p.method in BEST or any(NEXT.fullmatch(str(a)) for a in p.arguments))


def _read(value: Value) -> Iterator[str]:
    return (part.name for part in value.within() if part.kind in ("name", "attribute"))
