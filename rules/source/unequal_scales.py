"""ML467."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import divergence, tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Loss

REDUCES = frozenset({"mean", "sum"})


class UnequalScales(SourceRule):
    """Of the two terms of a variational loss one is a sum over the batch and the other a mean over all values.

    Why: the evidence bound adds both as sums over a sample. A mean over pixels beside a summed divergence makes the divergence
        thousands of times too heavy: the posterior collapses onto the prior and all reconstructions are alike. The other way
        round nothing holds the latent space together, and what is sampled from it is noise.
    Fix: `reduction="sum"` beside `torch.sum`, both divided by the batch size; or an explicit weight.
    Ignore: where the data has about as many values as the latent space.
    Reported: https://github.com/wiseodd/generative-models/issues/40, https://github.com/zdebruine/MMVAE/pull/19,
        https://github.com/orybkin/sigma-vae-tensorflow/issues/2
    """

    code, severity, topic = "ML467", Severity.WARNING, "loss"
    words = tuple((word, call) for word in ("logvar", "log_var") for call in ("_loss(", "entropy(", "Loss("))
    bad = (
        """
        def loss_function(output, x, mu, logvar):
            recon = F.mse_loss(output, x)
            kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            return recon + kl
        """,
        """
        def loss_function(output, x, mu, logvar):
            kl = -0.5 * torch.mean(1 + logvar - mu**2 - logvar.exp())
            return F.binary_cross_entropy(output, x, reduction="sum") + kl
        """,
        """
        criterion = nn.BCELoss()
        for x in loader:
            output, mu, log_var = vae(x)
            kl = (1 + log_var - mu.pow(2) - log_var.exp()).sum() * -0.5
            loss = criterion(output, x) + kl
            loss.backward()
        """,
    )
    good = (
        """
        loss = +F.mse_loss(model(x), y)
        """,
        """
        def loss_function(output, x, mu, logvar):
            recon = F.mse_loss(output, x, reduction="sum")
            kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            return recon + kl
        """,
        """
        def loss_function(output, x, mu, logvar, beta):
            recon = F.mse_loss(output, x)
            kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            return recon + beta * kl
        """,
        """
        def loss_function(output, x, mu, logvar):
            recon = F.mse_loss(output, x)
            kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            kl /= len(x) * 784
            return recon + kl
        """,
        """
        def loss_function(output, x, mu, logvar):
            recon = F.mse_loss(output, x) * x.numel()
            kl = torch.mean(-0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1), dim=0)
            return recon + kl
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        losses = {id(loss.call): loss for loss in script.losses if loss.kind and loss.certain}
        for function in script.functions if losses else ():
            for event in function.events:
                value = event.value if event.kind in ("assign", "return") else None
                for total in value.within() if value is not None else ():
                    if total.kind == "operation" and total.name == "+" and len(total.arguments) == 2:
                        yield from self._judge(function, total, losses)

    def _judge(self, function: Function, total: Value, losses: dict[int, Loss]) -> Iterator[Diagnostic]:
        sides = [_made(function, side) for side in total.arguments]
        for one, other in (sides, sides[::-1]):
            if one is not None and other is not None and id(one) in losses:
                given, held = _reduction(losses[id(one)]), _held(function, other)
                if given and held and given != held:
                    message = (
                        f"adds a divergence that is a {held} to a loss that is a {given}: they are of different scales"
                    )
                    yield self.at(total, message)


def _made(function: Function, value: Value) -> Value | None:
    """What a name is bound to, if to nothing else."""
    bound = [e.value for e in function.events if e.kind in ("assign", "augment") and e.name == value.name]
    return value if value.kind != "name" else bound[0] if len(bound) == 1 else None


def _reduction(loss: Loss) -> str:
    settings = loss.settings
    given = settings.argument(None, "reduction")
    if settings.unpacks or any(name in ("size_average", "reduce") for name, _ in settings.keywords):
        return ""
    return "mean" if given is None else str(given.constant) if given.constant in REDUCES else ""


def _held(function: Function, value: Value) -> str:
    """How a divergence from the prior is reduced over everything: "sum", "mean", or "" where it is not just that."""
    while value.kind == "operation" and value.name in ("*", "-") and len(value.arguments) <= 2:
        *rest, last = value.arguments
        constant = next((part for part in rest if isinstance(part.constant, int | float)), None)
        first_is = rest and isinstance(last.constant, int | float)
        if value.name == "*" and constant is None and not first_is:
            return ""
        value = rest[0] if first_is else last
    if value.kind != "call" or value.method not in REDUCES:
        return ""
    torchs = value.name.startswith("torch.")
    inner = value.argument(0, "input") if torchs else value.receiver
    plain = len(value.arguments) == int(torchs) and not value.keywords
    summed = tensors.followed(function, inner) if inner is not None else None
    return value.method if plain and summed is not None and divergence.sign(summed) else ""
