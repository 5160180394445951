"""ML461."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.core.record import dataclass
from modellint.source import lookup, tensors
from modellint.source.ascent import ascends
from modellint.source.code import Function, Value
from modellint.source.facts import Act, Summand, TrainingLoop

CALLED = pattern(rb"D(?:(?<!\wD)|(?<=\b_D)|(?<=\bnetD)|(?<=\bnet_D)|(?<=\bmodelD)|(?<=\bmodel_D))(?:_\w+)?\(")
CRITICS = (
    ("isc", pattern(rb"isc(?<=[dD]isc)(?!ard|onn|ount|over)")),
    ("ritic", pattern(rb"ritic(?<=[cC]ritic)")),
    ("D(", CALLED),
    ("D_", CALLED),
)
DEEPEST = 8  # values that one is computed from, through the names of a function
CRITIC = pattern(r"(\w*_)?(net_?)?d(is[ck]?)?(_\w+)?|\w*(discrim|critic)\w*", re.IGNORECASE)
GENERATOR = pattern(r"(\w*_)?(net_?)?g(en)?(_\w+)?|\w*generator\w*|self", re.IGNORECASE)
REVERSES = pattern(r"revers|grl", re.IGNORECASE)
MONOTONE = frozenset(
    "mean sum relu softplus log logsigmoid sigmoid squeeze view flatten reshape clamp exp".split()
)  # that grow with what they are given
FILLS = {"ones": 1.0, "ones_like": 1.0, "zeros": 0.0, "zeros_like": 0.0}
ALIKE = frozenset({"type_as", "expand_as", "type"})
LEVEL = 0.5  # of a label: above it is one side, below it the other


@dataclass(frozen=True, slots=True)
class Wish:
    """What a step wants of a score: `up` is 1 where minimising the loss raises it, -1 where it lowers it."""

    critic: str
    up: int
    place: Value
    generated: bool  # the score is that of something that another model made
    cut: bool  # and no gradient reaches that
    label: float | None  # that the score is compared with


class AdversariesAgree(SourceRule):
    """The generator and the discriminator are trained to the same end: both raise, or both lower, the score of what is generated.

    Why: a GAN is a game; the discriminator is to tell what is generated from what is real, the generator to be mistaken. With the
        label of the discriminator's own step, or without the minus in `-D(G(z)).mean()`, they work together: the loss falls
        quickly and the images stay noise.
    Fix: give the generator's step the label of real samples; of scores without labels one step takes the negative.
    Ignore: never.
    Reported: https://github.com/ptran1203/pytorch-animeGAN/issues/17, https://github.com/yunjey/pytorch-tutorial/issues/45
    """

    code, severity, certain, topic = "ML461", Severity.ERROR, False, "loss"
    words = tuple((call, *critic) for call in (".backward(", "manual_backward(") for critic in CRITICS)
    bad = (
        """
        for real in loader:
            fake = G(torch.randn(len(real), 64))
            loss_d = bce(D(real), torch.ones(len(real), 1)) + bce(D(fake.detach()), torch.zeros(len(real), 1))
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            loss_g = bce(D(fake), torch.zeros(len(real), 1))
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        """,
        """
        real_label, fake_label = 1.0, 0.0
        for real in loader:
            netD.zero_grad()
            label = torch.full((len(real),), real_label)
            criterion(netD(real).view(-1), label).backward()
            fake = netG(torch.randn(len(real), 64))
            label.fill_(fake_label)
            criterion(netD(fake.detach()).view(-1), label).backward()
            optimizerD.step()
            netG.zero_grad()
            output = netD(fake).view(-1)
            errG = criterion(output, label)
            errG.backward()
            optimizerG.step()
        """,
        """
        for real in loader:
            for _ in range(5):
                fake = generator(torch.randn(len(real), 64)).detach()
                loss = critic(real).mean() - critic(fake).mean()
                opt_critic.zero_grad()
                loss.backward()
                opt_critic.step()
            loss = -critic(generator(torch.randn(len(real), 64))).mean()
            opt_generator.zero_grad()
            loss.backward()
            opt_generator.step()
        """,
        """
        for real in loader:
            fake = generator(noise(real))
            loss_d = F.relu(1 - discriminator(real)).mean() + F.relu(1 - discriminator(fake.detach())).mean()
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            loss_g = -discriminator(fake).mean()
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        """,
    )
    good = (
        """
        for real in loader:
            fake = G(torch.randn(len(real), 64))
            d_loss = D(fake.detach()).mean() - D(real).mean()
            opt_d.zero_grad()
            d_loss.backward()
            opt_d.step()
            g_loss = D(fake).mean()
            opt_g.zero_grad()
            g_loss.backward()
            for p in G.parameters():
                p.grad.neg_()
            opt_g.step()
        """,
        """
        for a, b in loader:
            f = generator(b)
            d_loss = bce(discriminator(f.detach()), torch.zeros(len(b), 1)) + bce(discriminator(a), torch.ones(len(a), 1))
            opt_d.zero_grad()
            d_loss.backward()
            opt_d.step()
            g_loss = bce(discriminator(GradReverse.apply(generator(b))), torch.zeros(len(b), 1))
            opt_g.zero_grad()
            g_loss.backward()
            opt_g.step()
        """,
        """
        mse = nn.MSELoss()
        for real in loader:
            fake = G(torch.randn(len(real), 64))
            n = len(real)
            loss_d = mse(D(real), torch.ones(n, 1)) + mse(D(fake.detach()), torch.full((n, 1), -1.0))
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            loss_g = mse(D(fake), torch.zeros(n, 1))
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        """,
        """
        for x, y in loader:
            fake = G(x)
            d = D(fake.detach())
            loss_d = bce(d, torch.zeros_like(d)) + bce(D(y), torch.ones(len(y), 1))
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            g = D(fake)
            loss_g = bce(g, torch.full_like(g, 0.5))
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        """,
        """
        valid, fake = torch.ones(8, 1), torch.zeros(8, 1)
        for step, real in enumerate(loader):
            if step % 50 == 0:
                valid, fake = fake, valid  # now and then the labels are swapped
            g_optimizer.zero_grad()
            made = G(torch.randn(8, 100))
            criterion(D(made), valid).backward()
            g_optimizer.step()
            d_optimizer.zero_grad()
            (criterion(D(real), valid) + criterion(D(made.detach()), fake)).backward()
            d_optimizer.step()
        """,
        """
        real_label, fake_label = 1.0, 0.0
        for real in loader:
            netD.zero_grad()
            label = torch.full((len(real),), real_label)
            criterion(netD(real).view(-1), label).backward()
            fake = netG(torch.randn(len(real), 64))
            label.fill_(fake_label)
            criterion(netD(fake.detach()).view(-1), label).backward()
            optimizerD.step()
            netG.zero_grad()
            label.fill_(real_label)
            errG = criterion(netD(fake).view(-1), label)
            errG.backward()
            optimizerG.step()
        """,
        """
        for real in loader:  # the labels of both are swapped
            fake = G(torch.randn(len(real), 64))
            loss_d = bce(D(real), torch.zeros(len(real), 1)) + bce(D(fake.detach()), torch.ones(len(real), 1))
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            loss_g = bce(D(fake), torch.zeros(len(real), 1))
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        """,
        """
        for real in loader:  # the game as it was first written
            fake = G(torch.randn(len(real), 64))
            loss_d = -(torch.log(D(real)) + torch.log(1 - D(fake.detach()))).mean()
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            loss_g = torch.log(1 - D(fake)).mean()
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        """,
        """
        for real in loader:
            fake = generator(noise(real))
            loss_d = F.relu(1 - discriminator(real)).mean() + F.relu(1 + discriminator(fake.detach())).mean()
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            loss_g = F.softplus(-discriminator(fake)).mean()
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        """,
        """
        for real in loader:  # an option decides
            fake = G(torch.randn(len(real), 64))
            loss_g = D(fake).mean() if wasserstein else bce(D(fake), torch.ones(len(real), 1))
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
            if wasserstein:
                loss_d = D(real).mean() - D(fake.detach()).mean()
            else:
                loss_d = bce(D(real), torch.ones(len(real), 1)) + bce(D(fake.detach()), torch.zeros(len(real), 1))
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
        """,
        """
        one = torch.tensor(1.0)
        for real in loader:  # the sign is given to backward()
            fake = netG(torch.randn(len(real), 64))
            netD(real).mean().backward(one)
            netD(fake.detach()).mean().backward(-one)
            optimizerD.step()
            netD(fake).mean().backward(one)
            optimizerG.step()
        """,
        """
        for a, b in loader:  # two generators against one discriminator
            first = bce(D(G(a)), torch.ones(len(a), 1))
            opt_first.zero_grad()
            first.backward()
            opt_first.step()
            second = bce(D(H(b)), torch.ones(len(b), 1))
            opt_second.zero_grad()
            second.backward()
            opt_second.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        told = set()
        for loop in script.training_loops if not ascends(script) else ():
            steps = list(_steps(script, loop))
            for against, wants in ((one, other) for one in steps for other in steps if one is not other):
                for wish in _shared(against, wants):
                    if wish.place.location not in told:
                        told.add(wish.place.location)
                        what = "raises" if wish.up > 0 else "lowers"
                        message = f"{what} the score of what is generated, as the step of `{wish.critic}` itself does"
                        yield self.at(wish.place, message)


def _shared(against: tuple[Wish, ...], wants: tuple[Wish, ...]) -> Iterator[Wish]:
    """What the other step wants of a score as well as that of the critic."""
    for first in against:
        for second in wants:
            same = first.critic == second.critic and first.generated and second.generated and first.up == second.up
            nearer = first.label is None or second.label is None or (second.label - first.label) * first.up >= 0
            if same and nearer and _judges(against, first) and not _judges(wants, second):
                yield second


def _judges(wishes: tuple[Wish, ...], wish: Wish) -> bool:
    """Whether the step is that of the critic: it is shown something real, or what is generated is cut off."""
    return wish.cut or any(not other.generated and other.critic == wish.critic for other in wishes)


def _steps(script: Script, loop: TrainingLoop) -> Iterator[tuple[Wish, ...]]:
    """What each optimizer's step wants of the scores."""
    pending: list[Act] = []
    models = {id(act.call) for act in loop.of("model")}
    for act in loop.acts:
        if act.kind == "backward":
            pending.append(act)
        elif act.kind == "step":
            parts = (part for backward in pending for part in backward.summands if not _is_weighted(backward))
            wishes = [wish for part in parts if (wish := _wish(script, part, models)) is not None]
            both = {w.critic for w in wishes if w.generated and w.up > 0} & {
                w.critic for w in wishes if w.generated and w.up < 0
            }
            yield tuple(wish for wish in wishes if wish.critic not in both)  # of which an option decides
            pending = []


def _is_weighted(backward: Act) -> bool:
    """Whether it is given a gradient to start from, which may be a minus: `score.backward(minus_one)`."""
    call = backward.call
    return not backward.owner and call.method == "backward" and call.argument(0, "gradient") is not None


def _wish(script: Script, part: Summand, models: set[int]) -> Wish | None:
    """What minimising a part of a loss does to the score of which it is made."""
    for value in (part.given, part.value):
        if value is None or value.location.path != script.path or part.sign == 0:
            continue
        function = lookup.function(script, value.location)
        if function is None:
            continue
        found = _score(function, value, models)
        if found is not None:
            score, direction = found
            made = [v for given in score.arguments[:1] for v in tensors.origins(function, given)]
            generated = any(_calls(v, GENERATOR, models) and v.method != score.method for v in made)
            cut = any(v.kind == "call" and v.method == "detach" for v in made)
            if any(v.kind == "call" and REVERSES.search(v.name) for v in made):
                return None
            labelled = value.kind == "call" and len(value.arguments) == 2
            label = _label(function, value.arguments[1], tensors.place(function, value)) if labelled else None
            return Wish(score.method, -part.sign * direction, value, generated, cut, label)
    return None


def _score(function: Function, value: Value, models: set[int]) -> tuple[Value, int] | None:
    """The call of the critic that a loss is made of, and 1 where the loss grows with the score, -1 where it falls."""
    at = tensors.place(function, value)
    if value.kind == "call" and len(value.arguments) == 2 and not _calls(value, CRITIC, models):
        label = _label(function, value.arguments[1], at)
        score = tensors.followed(function, value.arguments[0], at)
        known = label is not None and _calls(score, CRITIC, models)
        return (score, -1 if label is not None and label > LEVEL else 1) if known else None
    return _grows(function, value, at, models)


def _calls(value: Value, called: re.Pattern[str], models: set[int]) -> bool:
    """Whether it is a call of a model: a known one, or one that is called so."""
    named = value.kind == "call" and not value.name.startswith("torch.") and called.fullmatch(value.method) is not None
    return id(value) in models or named


def _grows(
    function: Function, value: Value, at: int | None, models: set[int], left: int = DEEPEST
) -> tuple[Value, int] | None:
    value = tensors.followed(function, value, at)
    if _calls(value, CRITIC, models):
        return value, 1
    parts: tuple[Value, ...] = ()
    if value.kind == "call" and value.method in MONOTONE:
        inner = tensors.operand(value)
        parts = (inner,) if inner is not None else ()
    elif value.kind == "operation" and value.name in ("+", "-"):
        parts = value.arguments
    inside = (_grows(function, part, at, models, left - 1) for part in parts if left)
    found = [(i, made) for i, made in enumerate(inside) if made is not None]
    if len(found) != 1:
        return None
    place, (score, sign) = found[0]
    taken = value.name == "-" and place == len(parts) - 1
    return score, -sign if taken else sign


def _label(function: Function, value: Value, at: int | None) -> float | None:
    """The number that a label is full of."""
    name = value.name if value.kind == "name" else ""
    filled = [e for e in function.events[:at] if _fills(e.value, name) or (e.kind == "assign" and e.name == name)]
    around = function.enclosing(filled[-1].block) if len(filled) > 1 else ()
    if any(function.blocks[block].kind in ("if", "else") for block in around):  # labels that are swapped now and then
        return None
    made = filled[-1].value if name and filled else value
    return _number(function, made, at) if made is not None else None


def _fills(value: Value | None, name: str) -> bool:
    return value is not None and bool(name) and value.kind == "call" and value.name == f"{name}.fill_"


def _number(function: Function, value: Value, at: int | None, left: int = DEEPEST) -> float | None:
    value = tensors.followed(function, value, at)
    if not left:
        return None
    if isinstance(value.constant, bool | int | float):
        return float(value.constant)
    if value.kind == "call" and value.method in FILLS:
        return FILLS[value.method]
    if value.kind == "call" and value.method in ("full", "full_like", "fill_", "Variable", "tensor"):
        given = value.argument(0 if value.method in ("fill_", "Variable", "tensor") else 1, "fill_value")
        return _number(function, given, at, left - 1) if given is not None else None
    if value.kind == "call" and value.method in ALIKE and value.receiver is not None:
        return _number(function, value.receiver, at, left - 1)
    if value.kind == "operation" and value.name == "*":
        sides = [_number(function, side, at, left - 1) for side in value.arguments]
        return math.prod(side for side in sides if side is not None) if None not in sides else None
    return None
