"""ML474."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup, tensors
from modellint.source.code import Event, Function, Value

TARGET = pattern(r"(\w+_)?(target|tgt)(_\w+|net(work)?)?", re.IGNORECASE)
DISCOUNT = pattern(r"(\w+_)?(gamma|discount)(_\w+)?", re.IGNORECASE)
# Methods that a framework calls.
HOOKS = frozenset(
    "step forward on_train_batch_end on_before_zero_grad optimizer_step on_after_backward training_step".split()
)
BLIND = frozenset({"getattr", "setattr", "vars", "locals", "globals"})  # by which all may be changed unseen
DISCOUNTED = pattern(rb"(?i)gamma|discount")
AVERAGE = pattern(r"AveragedModel|ModelEma\w*|ExponentialMovingAverage|(Model)?EMA(Model|Helper)?")
# What is done to a network, or read of it, and leaves its weights as they are.
READS = frozenset("state_dict eval train to cuda cpu float half requires_grad_".split())
LOOKS = pattern(r"print|save|isinstance|eval|valid|test|sample|predict|update_bn")


class CopyNeverUpdated(SourceRule):
    """A target network or a moving average of weights is made, used, and never brought up to date.

    Why: the target of a Q-learner stays what it was at random: the values that are learned are those of a network that
        knows nothing. An average that nothing updates is the model before its training, and it is what is saved.
    Fix: `target.load_state_dict(net.state_dict())` every few hundred steps; `ema.update(model)` after each step. Mind the
        direction: the target takes the weights of the network that learns.
    Ignore: when another file brings it up to date.
    Reported: https://github.com/thesouther/MARL/issues/8
    """

    code, severity, certain, topic = "ML474", Severity.WARNING, False, "optimizer"
    words = (
        *(
            ("arget", copied, DISCOUNTED, backward)
            for copied in ("load_state_dict(", "deepcopy(")
            for backward in (".backward(", "manual_backward(")
        ),
        (
            pattern(rb"def _?\w*(?:update|momentum|ema|average|moving|soft|sync|follow)\w*\(self"),
            "arameters()",
            ".backward(",
        ),
        *(
            (name, ".backward(")
            for name in ("AveragedModel(", "ModelEma", "ExponentialMovingAverage(", "EMA(", "EMAModel(")
        ),
    )
    bad = (
        """
        class Agent:
            def __init__(self, env):
                self.q, self.target = QNet(env), QNet(env)
                self.target.load_state_dict(self.q.state_dict())
                self.optimizer = torch.optim.Adam(self.q.parameters())

            def learn(self, batch):
                q = self.q(batch.state).gather(1, batch.action)
                with torch.no_grad():
                    goal = batch.reward + self.gamma * self.target(batch.next).max(1, keepdim=True)[0] * (1 - batch.done)
                loss = F.smooth_l1_loss(q, goal)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
        """,
        """
        policy_net, target_net = DQN(4, 2), DQN(4, 2)
        target_net.load_state_dict(policy_net.state_dict())
        optimizer = torch.optim.Adam(policy_net.parameters())
        for step in range(10000):
            state, action, reward, following = replay.sample(64)
            goal = reward + GAMMA * target_net(following).max(1)[0].detach()
            loss = F.mse_loss(policy_net(state).gather(1, action).squeeze(1), goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 500 == 0:
                policy_net.load_state_dict(target_net.state_dict())
        """,
        """
        from torch.optim.swa_utils import AveragedModel

        averaged = AveragedModel(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        torch.save(averaged.state_dict(), "averaged.pt")
        """,
        """
        class Byol(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.online, self.target = net, copy.deepcopy(net)

            @torch.no_grad()
            def update_target(self, tau=0.99):
                for o, t in zip(self.online.parameters(), self.target.parameters()):
                    t.data = tau * t.data + (1 - tau) * o.data

            def forward(self, x, y):
                with torch.no_grad():
                    goal = self.target(y)
                return F.mse_loss(self.online(x), goal)

        model = Byol(net)
        optimizer = torch.optim.SGD(model.online.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            model(x, y).backward()
            optimizer.step()
        """,
    )
    good = (
        """
        class Momentum(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net, self.slow = net, copy.deepcopy(net)

            @torch.no_grad()
            def follow(self, m=0.99):
                for p, q in zip(self.net.parameters(), self.slow.parameters()):
                    q.data = q.data * m + p.data * (1 - m)

        model = Momentum(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        model.register_forward_pre_hook(model.follow)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        """,
        """
        target_policy, q = Net(), Net()
        target_policy.load_state_dict(torch.load("policy.pt"))  # is to be valued as it is
        optimizer = torch.optim.Adam(q.parameters())
        for b in data:
            goal = b.reward + gamma * (target_policy(b.following) * q(b.following).detach()).sum(1)
            loss = F.mse_loss(q(b.state).gather(1, b.action).squeeze(1), goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Agent:
            def __init__(self, env):
                self.q, self.target = QNet(env), QNet(env)
                self.target.load_state_dict(self.q.state_dict())
                self.optimizer = torch.optim.Adam(self.q.parameters())

            def sync(self):
                self.target.load_state_dict(self.q.state_dict())

            def learn(self, batch):
                with torch.no_grad():
                    goal = batch.reward + self.gamma * self.target(batch.next).max(1, keepdim=True)[0]
                loss = F.smooth_l1_loss(self.q(batch.state).gather(1, batch.action), goal)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
        """,
        """
        net, target = DQN(4, 2), DQN(4, 2)
        target.load_state_dict(net.state_dict())
        optimizer = torch.optim.Adam(net.parameters())
        for state, action, reward, following in replay:
            goal = reward + gamma * target(following).max(1)[0].detach()
            loss = F.mse_loss(net(state).gather(1, action).squeeze(1), goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for a, b in zip(target.parameters(), net.parameters()):
                a.data.lerp_(b.data, 0.005)
        """,
        """
        target = Net()  # random network distillation: its features are to be predicted
        target.load_state_dict(torch.load("random.pt"))
        optimizer = torch.optim.Adam(predictor.parameters())
        for state in states:
            loss = F.mse_loss(predictor(state), target(state).detach()) * 0.5
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            returns = reward + gamma * returns
        """,
        """
        from torch.optim.swa_utils import AveragedModel

        averaged = AveragedModel(model)
        for epoch in range(10):
            train(model, loader, averaged)
        """,
        """
        ema = EMA(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        hooks = [ema]
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not any(loop.steps for loop in script.training_loops):
            return
        yield from self._uncalled(script)
        for function in script.functions:
            for event in function.events:
                made = event.value if event.kind == "assign" else None
                what = _what(script, function, event) if made is not None and made.kind == "call" else ""
                if made is not None and what and not _is_moved(script, function, event):
                    yield self.at(
                        made, f"makes the {what} `{event.name}`, and nothing brings it up to date with what is learned"
                    )

    def _uncalled(self, script: Script) -> Iterator[Diagnostic]:
        """Methods that move an average, of a class of which the file makes an object, and that nothing in the file names."""
        if not any(loop.whole for loop in script.training_loops) or not BLIND.isdisjoint(script.called):
            return
        made = {call.method for call in script.calls}
        for function in {id(f): f for a in script.averages if (f := lookup.function(script, a.location))}.values():
            method = function.name.rpartition(".")[2]
            known = method.startswith("__") or method in HOOKS or function.kind != "function"
            named = method in script.called or method in script.attributes
            if function.owner in made and not known and not named and not function.parent:
                yield self.at(function, f"moves an average of weights, and nothing calls `{function.name}`")


def _what(script: Script, function: Function, event: Event) -> str:
    name = event.name
    averages = event.value is not None and AVERAGE.fullmatch(event.value.method) is not None
    is_target = TARGET.fullmatch(name.removeprefix("self.")) is not None
    if event.value is not None and (averages or is_target) and _is_own(script, function, name):
        if averages and str(event.value.argument(0)) in _trained(script):
            return "average"
        if is_target and _bootstraps(script, function, name):
            return "target"
    return ""


def _trained(script: Script) -> set[str]:
    """What the parameters are of that optimizers are given."""
    given = (part for made in script.optimizers for part in made.call.within() if part.method == "parameters")
    return {str(part.receiver) for part in given}


def _is_own(script: Script, function: Function, name: str) -> bool:
    """Whether all that is done to it is in the file: a name of a function, or an attribute of a class that stands alone."""
    if not name.startswith("self."):
        return "." not in name and "[" not in name
    alone = any(
        class_.name == function.owner and {"object"}.issuperset(map(str, class_.bases)) for class_ in script.classes
    )
    return name.count(".") == 1 and alone


def _seen(script: Script, function: Function, name: str) -> list[Function]:
    """The functions that may mean the same by a name."""
    if name.startswith("self."):
        return [f for f in script.functions if f.owner == function.owner]
    return [f for f in script.functions if function.kind == "module" or f"{f.name}.".startswith(f"{function.name}.")]


def _bootstraps(script: Script, function: Function, name: str) -> bool:
    """Whether what the network gives is discounted: the value of a later state."""
    for other in _seen(script, function, name):
        for product in (p for e in other.events if e.value is not None for p in e.value.within() if p.name == "*"):
            parts = (
                list(tensors.computed(other, product))
                if any(DISCOUNT.fullmatch(_last(p)) for p in product.arguments)
                else ()
            )
            if any(part.kind == "call" and part.name == name for part in parts):
                return True
    return False


def _last(value: Value) -> str:
    return value.method if value.kind == "name" else ""


def _is_moved(script: Script, function: Function, made: Event) -> bool:
    """Whether anything may change the weights of a copy after it is made, or hands it to where that cannot be seen."""
    name = made.name
    for other in _seen(script, function, name):
        if any(call.name in BLIND or any(given.name == "self" for given in call.arguments) for call in other.calls):
            return True
        for event in (event for event in other.events if event is not made):
            target = event.name if event.kind in ("assign", "augment") else ""
            if f"{target}.".startswith(f"{name}.") and not _is_same(event, name):
                return True
            first = other is function and not any(other.blocks[b].is_loop for b in other.enclosing(event.block))
            called = event.value is not None and event.value.name == name and event.value.kind == "call"
            if called and AVERAGE.fullmatch(made.value.method if made.value is not None else ""):
                return True  # it may be called to take the next value
            if event.value is not None and _moves(event.value, name, first):
                return True
    return False


def _is_same(event: Event, name: str) -> bool:
    """`net = net.to(device)`."""
    return event.value is not None and event.value.method in READS and str(event.value.receiver) == name


def _moves(value: Value, name: str, first: bool) -> bool:
    """Whether an expression changes a network, or gives it away; what only looks at it, or gives its state, does not."""
    if value.kind == "call" and LOOKS.search(value.method) and not value.name.startswith(name):
        return any(_moves(part, name, first) for part in value.arguments if part.kind == "call")
    if value.kind == "name":
        return value.name == name
    if value.kind == "call" and value.name.startswith(f"{name}."):
        state = value.argument(0)
        copied = value.method == "load_state_dict" and state is not None and state.method == "state_dict"
        own = copied and (first or str(state) == f"{name}.state_dict()")
        if value.method not in READS and not own:
            return True
    inside = (*value.arguments, *(v for _, v in value.keywords), *((value.base,) if value.base is not None else ()))
    return any(_moves(part, name, first) for part in inside)
