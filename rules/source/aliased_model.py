"""ML169."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Event, Function, Value

BEST = pattern(r"(best|saved|kept)_?\w*(model|net|network|weights)|(model|net|network)_?(best|saved)", re.IGNORECASE)
MODEL = pattern(r"\w*(model|net|network|classifier)", re.IGNORECASE)
RENAMED = tuple(
    (
        name,
        pattern(
            rb"%s(?<![a-z]ema)[\w., ]* = *[\w.]*(?:net|network|model|online|query|student|policy|actor|critic|local|main"
            rb"|encoder)\w*(?:\.\w+\([\w.]*\))* *(?:[\n#,=]|$)" % name.encode()
        ),
    )
    for name in ("target", "ema", "teacher")
)
PAIRED = pattern(rb"zip\((?:[^()]|\(\))*\.parameters\(\), ")
SECOND = pattern(
    r"(.*_)?(target|ema|teacher|momentum|shadow|averaged?|avg|old|key)(_?(net(work)?|model|encoder|critic|actor|q|policy|params?)\w*)?",
    re.IGNORECASE,
)
FIRST = pattern(
    r"(.*_)?((q_?|policy_?|dqn_?)?(net|network|model)|(online|query|student|policy|actor|critic|local|main)(_\w+)?|\w+_?encoder(_q)?)",
    re.IGNORECASE,
)
OWN = frozenset({"load_state_dict", "state_dict", "parameters", "named_parameters"})
UPDATES = ("zip", "load_state_dict")


class AliasedModel(SourceRule):
    """A second name is given to the model where a copy of it is meant: both are one, and train together.

    Why: `best_model = model` copies nothing. The "best" model follows every later update and is the last one in the end; a
        target or average network that is the trained network itself neither lags behind nor averages.
    Fix: `copy.deepcopy(model)`, or keep a deep copy of its `state_dict()`.
    Ignore: never, where the model goes on training.
    Reported: https://github.com/MedMNIST/experiments/issues/8, https://github.com/zhangj111/astnn/issues/8
    """

    code, severity, certain, topic = "ML169", Severity.ERROR, True, "evaluation"
    words = (
        *((name, "torch") for name in ("best_model", "best_net", "model_best", "net_best", "saved_model")),
        *((".parameters(), ", "zip(", PAIRED), ("load_state_dict(", ".state_dict())")),
        *((*pair, "torch", *name) for pair in (("online", "target"), ("student", "teacher")) for name in RENAMED),
        *((*name, call) for name in RENAMED for call in ("state_dict(", ".parameters()")),
    )  # fmt: skip
    bad = (
        """
        import torch

        best, best_model = 0.0, None
        for epoch in range(100):
            train_epoch(model, optimizer, loader)
            accuracy = evaluate(model, held_out)
            if accuracy > best:
                best, best_model = accuracy, model
        print(evaluate(best_model, test))
        """,
        """
        import torch

        class Agent:
            def __init__(self, network):
                self.online = network
                self.target = self.online

            def sync(self):
                self.target.load_state_dict(self.online.state_dict())
        """,
        """
        import torch

        net = Net()
        ema = net
        for p, q in zip(ema.parameters(), net.parameters()):
            p.data.mul_(0.99).add_(q.data, alpha=0.01)
        """,
        """
        import torch

        class AverageOf:
            def __init__(self, model, decay=0.99):
                self.ema = model.eval()
                self.decay = decay

            def update(self, model):
                with torch.no_grad():
                    for name, value in self.ema.state_dict().items():
                        value.mul_(self.decay).add_(model.state_dict()[name], alpha=1 - self.decay)
        """,
        """
        import torch

        target_net = DQN()
        target_net = policy_net
        for step in range(1000):
            learn(policy_net, target_net)
            if step % 100 == 0:
                target_net.load_state_dict(policy_net.state_dict())
        """,
        """
        import torch

        class Learner(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.online_encoder = nn.Sequential(net, nn.Linear(8, 8))
                self.target_encoder = self.online_encoder

            def update(self):
                moving_average(self.target_encoder, self.online_encoder)
        """,
    )
    good = (
        """
        import torch
        def save(ema, model, path):
            target_model = model
            torch.save({"weights": target_model.state_dict()}, path)
        """,
        """
        import torch
        query_encoder = Encoder()
        target_encoder = query_encoder  # shared weights
        model = TwoTower(query_encoder, target_encoder)
        optimizer = torch.optim.Adam(model.parameters())
        """,
        """
        import torch
        def test(model, path):
            ema_model = model
            state = torch.load(path, weights_only=True)
            ema_model.load_state_dict(state["ema"])
            ema_model.eval()
            with torch.no_grad():
                for x, y in loader:
                    print(ema_model(x))
        """,
        """
        import copy
        import torch

        class AverageOf:
            def __init__(self, model, teacher=None):
                self.ema = copy.deepcopy(model).eval()
                self.teacher = teacher

            def load(self, state):
                self.ema.load_state_dict(state)
                self.teacher.load_state_dict(state)
        """,
        """
        import torch

        ema_model = model
        if args.ema:
            ema_model = copy.deepcopy(model)
        torch.save(ema_model.state_dict(), "last.pt")
        """,
        """
        class Client:
            def set_parameters(self, model):  # the server's
                for new, old in zip(model.parameters(), self.model.parameters()):
                    old.data = new.data.clone()

            def statistics(self):
                model = self.model
                return [model(x) for x in self.data]
        """,
        """
        fresh = nn.Linear(8, 8)
        fresh.load_state_dict(model.first.state_dict())  # while they are two
        model.first = fresh
        """,
        """
        import copy
        import torch

        for epoch in range(100):
            train_epoch(model, optimizer, loader)
            if evaluate(model, held_out) > best:
                best_model = copy.deepcopy(model)
        print(evaluate(best_model, test))
        """,
        """
        import torch

        for width in (16, 32, 64):
            model = Net(width)
            for epoch in range(100):
                train_epoch(model, optimizer, loader)
            if evaluate(model, held_out) > best:
                best_model = model
        print(evaluate(best_model, test))
        """,
        """
        import torch

        for epoch in range(100):
            train_epoch(model, optimizer, loader)
            if evaluate(model, held_out) > best:
                best_model = model
                torch.save(best_model.state_dict(), "best.pt")
        """,
        """
        import torch

        net = Net()
        raw = net
        net = torch.compile(net)
        raw.load_state_dict(net.state_dict())
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for at, event in enumerate(function.events):
                model = _alias(event)
                best = bool(model) and BEST.search(event.name.rpartition(".")[2]) is not None
                if best and _trains_on(function, event, model) and _is_used_after(function, at):
                    message = f"calls `{model}` by a second name: `{event.name}` goes on training with it"
                    yield self.at(event, message)
        told: list[Event] = list(_seconds(script))
        for second in told:
            message = f"makes `{second.name}` and `{second.value}` one model, where one is to follow the other"
            yield self.at(second, message)
        updating = () if script.called.isdisjoint(("zip", "load_state_dict")) else script.functions
        for one, other, where, line in (found for function in updating for found in _updated(function)):
            alias = _only_alias(script, one, other, where)
            before = alias is not None and alias in where.events and (alias.location.line or 0) > line
            if alias is not None and not before and alias not in told:
                told.append(alias)
                yield self.at(alias, f"makes `{one}` and `{other}` one model, which is then updated from itself")


def _seconds(script: Script) -> Iterator[Event]:
    """Where a name that is told to follow a network is bound to that network itself, and nothing else is bound to it after."""
    for function in script.functions:
        for at, event in enumerate(function.events):
            second = event.name.rpartition(".")[2]
            if event.kind != "assign" or event.value is None or not SECOND.fullmatch(second) or "[" in event.name:
                continue
            value = tensors.bare(event.value)
            named = value.kind == "name" and value.name != event.name
            named = named and not SECOND.fullmatch(value.method) and FIRST.fullmatch(value.method) is not None
            if named and _stays(script, function, at) and _follows(script, event.name, value.name):
                yield event


def _stays(script: Script, function: Function, at: int) -> bool:
    """Whether nothing else is bound to a name, but for what the same block binds before."""
    event = function.events[at]
    scopes = (
        [f for f in script.functions if f.owner == function.owner] if event.name.startswith("self.") else [function]
    )
    branches = any(function.blocks[b].kind in ("if", "else") for b in function.enclosing(event.block))
    others = ((f, i, e) for f in scopes for i, e in enumerate(f.events) if e.kind == "assign" and e.name == event.name)
    return not branches and all(
        e is event or (f is function and i < at and e.block == event.block) for f, i, e in others
    )


def _follows(script: Script, second: str, first: str) -> bool:
    """Whether the file takes the weights of the second for those of another: they are loaded, or handed on with the first's."""
    alike = (e.name for f in script.functions for e in f.events if e.kind == "assign" and str(e.value) == first)
    firsts = {first, *alike} - {second}
    for call in script.calls:
        if call.method[:1].isupper():  # `TwoTower(encoder, encoder)` shares it
            continue
        if call.method in ("state_dict", "named_parameters") and str(call.receiver) == second:
            read = (other for other in script.calls if other.method == call.method and other is not call)
            if any(str(other.receiver) in firsts for other in read):
                return True
        sides = {second} if call.method == "load_state_dict" and str(call.receiver) == second else set()
        given = [str(part) for part in call.arguments]
        given += [str(part.receiver) for part in call.arguments if part.kind == "call" and part.method in OWN]
        if second in (*given, *sides) and not firsts.isdisjoint(given):
            return True
    return False


def _alias(event: Event) -> str:
    """The model to which an assignment gives a second name."""
    value = event.value if event.kind == "assign" else None
    named = value is not None and value.kind == "name" and value.name != event.name and "[" not in event.name
    return value.name if named and value is not None and MODEL.fullmatch(value.method) else ""


def _trains_on(function: Function, event: Event, model: str) -> bool:
    """Whether, in a loop around that makes no new model, something is trained or given the model before."""
    loops = [b for b in function.enclosing(event.block) if function.blocks[b].is_loop]
    if not loops or not any(function.blocks[b].kind == "if" for b in function.enclosing(event.block)):
        return False
    inside = [e for _, e in function.inside(loops[0])]
    anew = any(e.kind == "assign" and e.name == model for e in inside)
    return not anew and any(e.kind == "call" and e.value is not None and _may_train(e.value, model) for e in inside)


def _may_train(call: Value, model: str) -> bool:
    given = any(part.name == model for part in call.arguments)
    return call.method == "backward" or ("train" in call.method and (given or str(call.receiver) == model))


def _is_used_after(function: Function, at: int) -> bool:
    """Whether the loop's end is followed by a use of the second name."""
    event = function.events[at]
    loops = [b for b in function.enclosing(event.block) if function.blocks[b].is_loop]
    later = (e for e in function.events[at + 1 :] if loops[0] not in function.enclosing(e.block))
    names = (event.name, f"{event.name}.")
    parts = (part for e in later if e.value is not None for part in e.value.within())
    return any(part.name == names[0] or part.name.startswith(names[1]) for part in parts)


def _updated(function: Function) -> Iterator[tuple[str, str, Function, int]]:
    """The pairs of models of which one is updated from the other, and where."""
    for call in function.calls:
        given = call.arguments[0] if call.method == "load_state_dict" and call.arguments else None
        if (
            given is not None
            and given.method == "state_dict"
            and call.receiver is not None
            and given.receiver is not None
        ):
            yield str(call.receiver), str(given.receiver), function, call.location.line or 0
        owners = [a.receiver for a in call.arguments if a.kind == "call" and a.method == "parameters"]
        if call.name == "zip" and len(owners) == 2 and None not in owners:
            yield str(owners[0]), str(owners[1]), function, call.location.line or 0


def _only_alias(script: Script, one: str, other: str, where: Function) -> Event | None:
    """Where one name is bound to the other for a function, if neither is bound to anything else after."""
    if any(parameter.name in (one, other) for parameter in where.parameters):
        return None
    shared = all(name.startswith("self.") for name in (one, other))  # else names of one function, or of all
    seen = (f for f in script.functions if shared or f is where or f.kind == "module")
    events = [e for f in seen for e in f.events if e.kind == "assign" and e.name in (one, other)]
    aliases = [e for e in events if e.value is not None and {e.name, e.value.name} == {one, other}]
    if len(aliases) != 1 or len(events) > 2:
        return None
    last = max(events, key=lambda event: event.location.line or 0)
    return aliases[0] if last is aliases[0] else None
