"""ML136."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.diagnostic import Fix
from modellint.core.edit import replace
from modellint.core.pattern import pattern
from modellint.source import divergence, lookup
from modellint.source.code import Value
from modellint.source.facts import Act, Optimizer, Summand, TrainingLoop
from modellint.source.sums import negated

# Words of those who raise a loss on purpose.
MEANT = pattern(
    r"advers|attack|perturb|pgd|fgsm|unlearn|forget|ascent|ascend|maximi[sz]|minimax|revers|advantage|reward|polic"
    r"|discrim|critic|domain|fool|poison|trigger|backdoor|saliency|counterfactual|mine\b|mutual(?!ly)",
    re.IGNORECASE,
)
LIKELIHOODS = ("log_prob", "log_likelihood")
COSTS = pattern(r"loss|cost|error|criterion|neg|nll|_ce$|mse", re.IGNORECASE)  # functions whose value is to fall
MINIMISED = pattern(r"(CrossEntropy|NLL|BCE|BCEWithLogits|MSE|L1|SmoothL1|Huber)Loss")


class LossSign(SourceRule):
    """The sign of the objective is reversed: training makes the model worse at what it is to learn.

    Why: an optimizer lowers what `backward()` starts from. Of a negated cross entropy, or of a likelihood that is not
        negated, it finds the way down all the same, to minus infinity, and the accuracy falls with it.
    Fix: minimise the loss as it is, or the negative of the log-likelihood; `nll_loss` negates it itself.
    Ignore: where the loss is raised on purpose: for an adversary, to forget, by a policy gradient. What the names in the
        file tell of such a purpose is not reported.
    Reported: https://github.com/fastai/fastbook/pull/478, https://github.com/pyro-ppl/pyro/issues/2798
    """

    code, severity, topic = "ML136", Severity.ERROR, "structure"
    explains = ("loss-not-falling",)
    twins = ("reversed-loss",)
    remedy = "flip-sign"
    words = (
        *((".backward(", sign) for sign in ("= -", "(-", " -(", "return -", "* -1", ".neg()", "log_prob(")),
        "maximize=True",
        (".backward(", "exp(", "1 +"),
        (".backward(", "softmax"),
        (".backward(", "LogSoftmax"),
    )
    bad = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss = model.compute_loss(x, y)
            (-loss).backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            loss = -F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        """,
        """
        criterion = nn.NLLLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            loss = criterion(F.log_softmax(model(x), dim=1), y)
            optimizer.zero_grad()
            (-loss).backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(flow.parameters())
        for x in loader:
            optimizer.zero_grad()
            loss = flow.log_prob(x).mean()
            loss.backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, maximize=True)
        for x, y in loader:
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()
        """,
        """
        def elbo(output, x, mu, log_var):
            error = F.mse_loss(output, x, reduction="sum")
            return -(error + 0.5 * torch.sum(torch.exp(log_var) + mu**2 - 1.0 - log_var))

        optimizer = torch.optim.Adam(vae.parameters())
        for x in loader:
            output, mu, log_var = vae(x)
            loss = elbo(output, x, mu, log_var)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(vae.parameters())
        for x in loader:
            output, mu, log_var = vae(x)
            divergence = 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
            loss = F.mse_loss(output, x, reduction="sum") + divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(dim=1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            loss = net(x).gather(1, y[:, None]).mean()
            loss.backward()
            optimizer.step()
        """,
        """
        def nll(logits, y):
            logp = F.log_softmax(logits, dim=1)
            return logp[torch.arange(len(y)), y].sum() / len(y)

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            nll(model(x), y).backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            logp = model(x).log_softmax(1)
            (logp * F.one_hot(y, 10)).sum(1).mean().backward()
            optimizer.step()
        """,
        """
        group = parser.add_mutually_exclusive_group()
        optimizer = torch.optim.Adam(model.parameters())
        for x, flow in loader:
            loss = multiscale_error(model(x), flow)
            optimizer.zero_grad()
            (-loss).backward()
            optimizer.step()
        """,
    )
    fixed = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss = model.compute_loss(x, y)
            loss.backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        """,
        None,
    )
    suspected = """
        class FoolingLoss(nn.Module):
            def forward(self, logits, labels):
                return -F.cross_entropy(logits, labels)

        criterion = FoolingLoss()
        optimizer = torch.optim.Adam(painter.parameters(), lr=1e-3)
        for x, y in loader:
            loss = criterion(net(painter(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """
    good = (
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            logp = F.log_softmax(model(x), dim=1)
            picked = logp[range(len(y)), y].sum() / -len(y)
            smooth = -logp.mean()
            (0.9 * picked + 0.1 * smooth).backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(actor.parameters())
        for states, actions, gains in rollouts:
            logp = F.log_softmax(actor(states), dim=1).gather(1, actions)
            loss = -(logp * gains).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(vae.parameters())
        for x in loader:
            output, mu, log_var = vae(x)
            divergence = 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
            loss = F.mse_loss(output, x, reduction="sum") - divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(flow.parameters())
        for x in loader:
            optimizer.zero_grad()
            (-flow.log_prob(x).mean()).backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(policy.parameters())
        for states, actions, returns in episodes:
            loss = -(Categorical(logits=policy(states)).log_prob(actions) * returns).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam([delta])
        for step in range(40):
            loss = -F.cross_entropy(model(x + delta), y)  # moves the image away from its label
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            likelihood = -F.cross_entropy(model(x), y, reduction="sum")
            divergence = kl(posterior(x), prior)
            elbo = likelihood - divergence
            optimizer.zero_grad()
            (-elbo).backward()
            optimizer.step()
        """,
        """
        def elbo(logits, x, mu, logvar):
            likelihood = -F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            return likelihood + 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())

        optimizer = torch.optim.Adam(vae.parameters())
        for x in loader:
            logits, mu, logvar = vae(x)
            optimizer.zero_grad()
            loss = -elbo(logits, x, mu, logvar)
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y, domain in loader:
            loss = F.cross_entropy(head(body(x)), y) - 0.1 * F.cross_entropy(where(body(x)), domain)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, maximize=True)
        for x in loader:
            optimizer.zero_grad()
            model.log_prob(x).sum().backward()
            optimizer.step()
        """,
    )
    confirmed_by = Run(tuple(Step(i, loss_weight=-1.0) for i in range(3)))
    not_confirmed_by = Run(tuple(Step(i, loss_weight=0.5) for i in range(3)))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not script.training_loops or any(MEANT.search(name) for name in script.attributes):
            return
        for loop in script.training_loops:
            if MEANT.search(loop.function) is None and len(loop.steps) == 1:
                for act in loop.of("backward"):
                    yield from self._judge(script, loop, act)

    def _judge(self, script: Script, loop: TrainingLoop, act: Act) -> Iterator[Diagnostic]:
        optimizer = next((o for o in script.trainers if o.made(loop.steps[0])), None)
        raises = optimizer is not None and _maximises(optimizer)
        signs = {_sign(script, part) * (-1 if raises else 1) for part in act.summands}
        labels = all(part.likelihood for part in act.summands)
        modules = optimizer is not None and optimizer.of_modules
        if signs == {-1} and (optimizer is None or modules or labels):
            known = modules and len(list(loop.of("backward"))) == 1 and loop.whole
            losses = all(_loss(script, p.value) or divergence.sign(p.value) for p in act.summands)
            known = known and not any(_is_in_class(script, part) for part in act.summands)
            what = "raises its loss" if losses else "lowers the log-likelihood"
            place = optimizer if raises and optimizer is not None else _turned(act.summands)
            yield self.at(
                place, f"{what}: the sign of what is minimised is reversed", certain=known and (losses or labels)
            )
        elif signs == {0} and not raises and (turned := _negated(act.call)) is not None:
            yield self.at(turned, f"starts from the negative of `{turned}`: a loss is to fall", certain=False)
        elif signs == {1, -1} and not raises:
            for part in act.summands:
                if part.sign * divergence.sign(part.value) < 0:
                    yield self.at(
                        part.value, "raises the divergence from the prior: its sign is reversed", certain=True
                    )
        elif signs == {1, 0} and not raises:
            for part in (part for part in act.summands if part.sign == 0 and part.cut is None):
                if part.written * divergence.sign(part.value) < 0:
                    message = "raises the divergence from the prior, unless its weight is negative"
                    yield self.at(part.value, message, certain=False)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """The minus goes that stands right before the loss."""
        for function in script.functions:
            for value in function.values:
                if (inner := negated(value)) is not None and inner.location == finding.location:
                    return Fix((replace(value, "{0}"),), safe=False)
        return None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        series = tuple(step.loss_weight for step in run.steps if step.loss_weight is not None)
        if not series:
            return None
        claim = "d (what backward() starts from) / d (loss)"
        return Evidence(claim, max(series), 0.0, holds=max(series) < 0, series=series)


def _is_in_class(script: Script, part: Summand) -> bool:
    """Whether a loss class takes it: one that is written to raise a loss says so by its own name."""
    if part.given is None:
        return False
    if part.value.location.path == script.path:
        function = lookup.function(script, part.value.location)
        return function is not None and function.name.endswith(".forward")
    made = (e.name for f in script.functions for e in f.events if e.kind == "assign")
    return part.given.name in set(made)  # an object that is called, of a class of another file


def _negated(backward: Value) -> Value | None:
    """The loss of `(-loss).backward()`."""
    inner = negated(backward.receiver)
    return inner if inner is not None and COSTS.search(str(inner)) else None


def _turned(summands: tuple[Summand, ...]) -> Value:
    """Where the sign is wrong: the call of a function that gives what is to be raised, else the loss itself."""
    given = summands[0].given
    whole = given is not None and not COSTS.search(given.method) and all(part.given is given for part in summands)
    return given if given is not None and whole else summands[0].value


def _maximises(optimizer: Optimizer) -> bool:
    given = optimizer.call.argument(None, "maximize")
    return given is not None and given.constant is True


def _sign(script: Script, part: Summand) -> int:
    """1 for what is to be minimised, -1 for its negative; 0 where that is not known."""
    if part.cut is not None:
        return 0
    if _loss(script, part.value):
        return part.sign
    if divergence.sign(part.value):
        return part.sign * divergence.sign(part.value)
    if part.likelihood:
        return -part.sign
    return -part.sign if part.value.kind == "call" and part.value.method in LIKELIHOODS else 0


def _loss(script: Script, value: Value) -> bool:
    return any(loss.call is value and loss.certain and MINIMISED.fullmatch(loss.kind) for loss in script.objectives)
