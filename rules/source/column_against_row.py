"""ML471."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value

COMPARE = frozenset({"MSELoss", "SmoothL1Loss", "HuberLoss", "L1Loss"})
KEEPS = frozenset("detach float double to cuda cpu clone clamp clip type_as contiguous data abs exp".split())
FLAT = frozenset({"squeeze", "flatten", "ravel"})
GATHERED = pattern(rb"\.gather\((?s:.){0,200}?(?:unsqueeze\(|view\(-1, *1|reshape\(-1, *1|, None\]|keepdim)")
DEEPEST = 8


class ColumnAgainstRow(SourceRule):
    """Values that are picked by `gather`, [N, 1], are compared with targets of shape [N]: each value with every target.

    Why: both are broadcast to [N, N]. Each action's value is drawn to the mean of all targets of the batch: the loss falls and
        the agent learns little or nothing. PyTorch warns once and goes on.
    Fix: `.squeeze(1)` behind the `gather`, or `keepdim=True` (or `.unsqueeze(1)`) for the maximum.
    Ignore: when every pair is to be compared.
    Reported: https://github.com/PacktPublishing/Deep-Reinforcement-Learning-Hands-On/issues/33
    """

    code, severity, certain, topic = "ML471", Severity.ERROR, True, "structure"
    calls = ("gather",)
    words = ((".gather(", ".backward(", GATHERED),)
    bad = (
        """
        q = net(states).gather(1, actions.unsqueeze(1))
        with torch.no_grad():
            best = target_net(following).max(1)[0]
        loss = F.mse_loss(q, rewards + 0.99 * best * (1 - done))
        loss.backward()
        """,
        """
        class Agent:
            def __init__(self):
                self.criterion = nn.SmoothL1Loss()

            def learn(self, states, actions, rewards, following, done):
                values = self.net(states)
                values = torch.gather(values, 1, actions.view(-1, 1))
                ahead = self.target(following).max(dim=1).values.detach()
                goal = rewards + self.gamma * ahead
                goal = goal.float()
                self.criterion(values, goal).backward()
        """,
        """
        best = net(following).argmax(1, keepdim=True)
        ahead = target_net(following).gather(1, best).squeeze(1)
        q = net(states).gather(1, actions.long()[:, None])
        loss = F.huber_loss(q, ahead * 0.9 + rewards).mean()
        loss.backward()
        """,
    )
    good = (
        """
        q = net(states).gather(1, actions.unsqueeze(1)).squeeze(1)
        best = target_net(following).max(1)[0]
        loss = F.mse_loss(q, rewards + 0.99 * best)
        loss.backward()
        """,
        """
        q = net(states).gather(1, actions.unsqueeze(1))
        best = target_net(following).max(1)[0]
        goal = (rewards + 0.99 * best).unsqueeze(1)
        loss = F.mse_loss(q, goal) + F.mse_loss(q, target_net(following).max(1, keepdim=True)[0])
        loss.backward()
        """,
        """
        q = net(states).gather(1, actions)  # of a shape that is not known
        best = target_net(following).max(1)[0]
        loss = F.mse_loss(q, rewards + 0.99 * best)
        loss.backward()
        """,
        """
        q = net(states).gather(2, actions.unsqueeze(2))  # [batch, agents, 1]
        best = target_net(following).max(2)[0]
        loss = F.mse_loss(q, best.view(q.shape))
        loss.backward()
        """,
        """
        q = net(states).gather(1, actions.unsqueeze(1))
        if flat:
            q = q.squeeze(1)
        best = target_net(following).max(1)[0]
        loss = F.mse_loss(q, rewards + best)
        loss.backward()
        """,
        """
        q = net(states).gather(1, actions.unsqueeze(1))
        best = target_net(following).max(1)[0]
        q, best = mixer(q, best)
        loss = F.mse_loss(q, best)
        loss.backward()
        """,
        """
        q = net(states).gather(1, actions.unsqueeze(1))
        best = target_net(following).max(1)[0]
        best.unsqueeze_(1)
        loss = F.mse_loss(q, best)
        loss.backward()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in (loss for loss in script.losses if loss.kind in COMPARE and loss.certain):
            for function in script.functions:
                at = next((i for i, e in enumerate(function.events) if e.value is loss.call and e.kind == "call"), None)
                given, target = loss.call.argument(0, "input"), loss.call.argument(1, "target")
                if at is not None and given is not None and target is not None:
                    kinds = {_kind(function, given, at), _kind(function, target, at)}
                    if kinds == {"column", "row"}:
                        message = f"compares [N, 1] with [N], each with all: `{given}` and `{target}`"
                        yield self.at(loss, message, certain=not _is_of_one(function))


def _is_of_one(function: Function) -> bool:
    """Whether a batch may be one sample, `state.unsqueeze(0)` or `state[None]`: then [1, 1] is compared with [1]."""
    for part in function.values:
        if part.method == "unsqueeze" and [a.constant for a in part.arguments] == [0]:
            return True
        if part.kind == "item" and part.arguments[0].kind == "constant" and part.arguments[0].constant is None:
            return True
    return False


def _kind(function: Function, value: Value, at: int, depth: int = 0) -> str:
    """ "column" [N, 1], "row" [N]; "" where neither is sure."""
    if depth > DEEPEST:
        return ""
    if value.kind == "name":
        return _bound(function, value.name, at, depth)
    if value.kind == "operation" and value.name in ("+", "-", "*", "/"):
        kinds = {_kind(function, part, at, depth + 1) for part in value.arguments if part.kind != "constant"}
        return "row" if "row" in kinds and "column" not in kinds else "column" if kinds == {"column"} else ""
    if value.kind == "item" and value.base is not None and value.arguments[0].constant == 0:
        return _highest(value.base)
    if value.kind == "attribute" and value.name == "values" and value.base is not None:
        return _highest(value.base)
    return _called(function, value, at, depth) if value.kind == "call" else ""


def _called(function: Function, call: Value, at: int, depth: int) -> str:
    given, subject = call.arguments, call.receiver
    if call.name.startswith("torch."):
        subject, given = (given[0], given[1:]) if given else (None, ())
    if call.method == "gather":
        axis = call.argument(None, "dim") or next(iter(given), None)
        index = call.argument(None, "index") or next(iter(given[1:]), None)
        column = index is not None and _is_column(function, index, at, depth)
        return "column" if column and axis is not None and axis.constant in (1, -1) else ""
    if subject is None:
        return ""
    if call.method in ("amax", "logsumexp"):
        return _highest(call)
    inner = (
        _kind(function, subject, at, depth + 1)
        if call.method in KEEPS | FLAT | {"view", "reshape", "unsqueeze"}
        else ""
    )
    plain = all(a.kind == "constant" for a in given)
    if call.method in FLAT or (call.method in ("view", "reshape") and [a.constant for a in given] == [-1]):
        return "row" if inner and plain and all(a.constant in (1, -1) for a in given) else ""
    if call.method == "unsqueeze":
        return "column" if inner == "row" and plain and [a.constant for a in given] in ([1], [-1]) else ""
    return inner if call.method in KEEPS else ""


def _highest(call: Value) -> str:
    """The values of a maximum over the second of two axes, which is gone."""
    if call.kind != "call" or call.method not in ("max", "amax", "logsumexp") or call.receiver is None:
        return ""
    axis = call.argument(int(call.name.startswith("torch.")), "dim")
    kept = len(call.arguments) > 1 + call.name.startswith("torch.") or call.argument(None, "keepdim") is not None
    return "row" if axis is not None and axis.constant == 1 and not kept and not call.unpacks else ""


@lru_cache(1000)  # an arm of a branching may be asked by way of each arm after it
def _is_column(function: Function, index: Value, at: int, depth: int) -> bool:
    """Whether an index is surely [N, 1]: `a.unsqueeze(1)`, `a.view(-1, 1)`, `a[:, None]`, `q.argmax(1, keepdim=True)`."""
    if index.kind == "name" and depth < DEEPEST:
        made = _bindings(function, index.name, at)
        return bool(made) and all(v is not None and _is_column(function, v, i, depth + 1) for i, v in made)
    if index.kind == "item" and index.arguments[0].kind == "tuple":
        last = index.arguments[0].arguments
        return len(last) == 2 and last[1].kind == "constant" and last[1].constant is None and str(last[0]) == ":"
    if index.kind != "call":
        return False
    numbers = [a.constant for a in index.arguments]
    if index.method in ("view", "reshape"):
        return numbers == [-1, 1]
    if index.method == "unsqueeze":
        return numbers in ([1], [-1])
    if index.method in ("long", "to", "cuda", "type", "int") and index.receiver is not None and depth < DEEPEST:
        return _is_column(function, index.receiver, at, depth + 1)
    kept = index.argument(None, "keepdim")
    return index.method == "argmax" and kept is not None and kept.constant is True and 1 in numbers


def _bindings(function: Function, name: str, at: int) -> list[tuple[int, Value | None]]:
    """What a name may hold at an event: its last unconditional binding and those after it."""
    made = []
    for i in range(at - 1, -1, -1):
        event = function.events[i]
        if event.name == name and event.kind in ("assign", "augment", "delete"):
            made.append((i, event.value if event.kind == "assign" else None))
            if event.block in set(function.enclosing(function.events[at].block)):
                break
    return made


@lru_cache(1000)
def _bound(function: Function, name: str, at: int, depth: int) -> str:
    made = _bindings(function, name, at)
    kinds = {_kind(function, v, i, depth + 1) if v is not None else "" for i, v in made}
    return kinds.pop() if len(kinds) == 1 else ""
