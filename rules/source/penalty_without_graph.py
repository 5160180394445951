"""ML406."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.source import lookup, tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Act, Summand

GRAD = "torch.autograd.grad"
DEEPEST = 60  # names that one value is followed through


class PenaltyWithoutGraph(SourceRule):
    """A part of the loss is computed of gradients that `autograd.grad` gives without a graph: it has no gradient itself.

    Why: the penalty of a WGAN-GP, an R1 term or the residual of a differential equation is a function of a derivative.
        Without `create_graph=True` that derivative is a plain number to autograd: the term raises the loss that is shown
        and changes no weight, so that the critic trains without its penalty.
    Fix: `torch.autograd.grad(..., create_graph=True)`.
    Ignore: where the derivative is only a weight of another term, and meant as a number.
    Reported: https://github.com/ooples/AiDotNet/issues/1844 (of another library), https://github.com/mlpack/mlpack/issues/3063
    """

    code, severity, certain, topic = "ML406", Severity.ERROR, True, "gradients"
    words = tuple(
        (grad, goes)
        for grad in ("autograd.grad(", "autograd import grad")
        for goes in (".backward(", "manual_backward(")
    )
    bad = (
        """
        def penalty(critic, real, fake):
            mix = torch.rand(len(real), 1)
            between = (mix * real + (1 - mix) * fake).requires_grad_(True)
            score = critic(between)
            slope = torch.autograd.grad(score, between, torch.ones_like(score))[0]
            return ((slope.norm(2, dim=1) - 1) ** 2).mean()

        optimizer = torch.optim.Adam(critic.parameters())
        for real in loader:
            fake = generator(torch.randn(len(real), 8)).detach()
            loss = critic(fake).mean() - critic(real).mean() + 10 * penalty(critic, real, fake)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            x.requires_grad_(True)
            u = net(x)
            du = torch.autograd.grad(u.sum(), x, retain_graph=True)[0]
            residual = (du + u.detach()).pow(2).mean()
            loss = F.mse_loss(u, y) + residual
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )
    good = (
        """
        def penalty(critic, real, fake):
            mix = torch.rand(len(real), 1)
            between = (mix * real + (1 - mix) * fake).requires_grad_(True)
            score = critic(between)
            slope = torch.autograd.grad(score, between, torch.ones_like(score), create_graph=True)[0]
            return ((slope.norm(2, dim=1) - 1) ** 2).mean()

        optimizer = torch.optim.Adam(critic.parameters())
        for real in loader:
            fake = generator(torch.randn(len(real), 8)).detach()
            loss = critic(fake).mean() - critic(real).mean() + 10 * penalty(critic, real, fake)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for x in loader:  # how much the other loss weighs is a number
            out = net(x)
            image, likeness = F.l1_loss(out, x), -critic(out).mean()
            first = torch.autograd.grad(image, net.last.weight, retain_graph=True)[0]
            second = torch.autograd.grad(likeness, net.last.weight, retain_graph=True)[0]
            weight = first.norm() / (second.norm() + 1e-4)
            loss = image + weight * likeness
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:  # an adversarial example
            x.requires_grad_(True)
            slope = torch.autograd.grad(F.cross_entropy(net(x), y), x)[0]
            loss = F.cross_entropy(net(x + 0.1 * slope.sign()), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:  # a plain number, to be shown
            loss = F.cross_entropy(net(x), y)
            slope = torch.autograd.grad(loss, net.weight, retain_graph=True)[0]
            print(slope.norm())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        told = set()
        for loop in script.training_loops:
            models = {id(act.call) for act in loop.of("model")}
            for backward in loop.of("backward"):
                grads = [
                    made for made in backward.origins if made.kind == "call" and made.name == GRAD and _plain(made)
                ]
                for part in backward.summands if grads else ():
                    made = _derived(script, part, models | {id(loss.call) for loss in script.losses})
                    if made is not None and made in grads and made.location not in told and not _alone(backward):
                        told.add(made.location)
                        yield self.at(
                            made, "takes a derivative without its graph: what the loss adds of it trains nothing"
                        )

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        call = next((call for call in script.calls if call.location == finding.location), None)
        return Fix((edit.add(call, "create_graph", "True"),), safe=False) if call is not None else None


def _plain(call: Value) -> bool:
    """Whether no graph of the derivative is asked for."""
    given = call.argument(4, "create_graph")
    return not call.unpacks and (given is None or given.constant is False)


def _alone(backward: Act) -> bool:
    """A loss of one such part fails by itself."""
    return len(backward.summands) < 2


def _derived(script: Script, part: Summand, graphs: set[int]) -> Value | None:
    """The derivative that a part of the loss is computed of, if nothing else with a graph is known to come into it."""
    own = part.value.location.path == script.path
    function = lookup.function(script, part.value.location) if own else None
    found: Value | None = None
    for value in _computed(function, part.value) if function is not None else ():
        if value.kind == "call" and value.name == GRAD:
            found = value
        elif id(value) in graphs or (value.kind == "name" and _is_parameter(function, value)):
            return None
    return found


def _is_parameter(function: Function | None, value: Value) -> bool:
    head = value.name.partition(".")[0]
    return function is not None and head != "self" and any(p.name == head for p in function.parameters)


def _computed(function: Function, value: Value) -> Iterator[Value]:
    """What a value is computed from in a function; not what a derivative or a cut-off value is computed from."""
    seen: set[str] = set()
    waiting = [value]
    while waiting and len(seen) < DEEPEST:
        part = waiting.pop()
        yield part
        if part.kind == "call" and (part.name == GRAD or part.method in ("detach", "item")):
            continue
        if part.kind == "name" and part.name not in seen:
            seen.add(part.name)
            waiting += tensors.bounds(function, part.name)
        waiting += [*part.arguments, *(v for _, v in part.keywords), *([part.base] if part.base is not None else [])]
        receiver = part.receiver if part.kind == "call" and part.base is None else None
        waiting += [receiver] if receiver is not None and not receiver.name.startswith("torch") else []
