"""ML437."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source import tensors, uniform, variance
from modellint.source.branches import asks_mode
from modellint.source.code import Event, Function, Value

REPARAMETERIZES = pattern(r"(?i)repar\w*$|sample_?(z|latent)\w*$|\bforward$")
DIFFERENTIABLE = frozenset(
    {"rsample", "log_prob", "randn_like", "normal_"}
)  # by which a file may sample where it trains
CUTS = frozenset({"data", "detach"})
ALWAYS = pattern(r"(^|\.)(forward|reparam\w*)$")


class LatentSampling(SourceRule):
    """A Gaussian is sampled from uniform noise, without a gradient, by its variance, or held to a divergence without `exp()`.

    Why: `rand` lies between 0 and 1: what is added to the mean is never negative, and a variational or diffusion model learns of
        another distribution than the normal one that it is sampled from. The deviation is `exp(0.5 * logvar)`; `exp(logvar)` is
        its square, which the divergence does not mean.
        What `Normal(mean, deviation).sample()` gives has no gradient. In that,
        `1 + logvar - mu ** 2 - logvar` bounds no variance at all.
    Fix: `torch.randn_like`, `torch.exp(0.5 * logvar)`, `1 + logvar - mu ** 2 - logvar.exp()`.
    Ignore: where what is called the logarithm of a variance is that of a deviation.
    Reported: https://github.com/dferendo/RecommendationSystem/issues/3, https://github.com/rachtsingh/ibp_vae/issues/3
    """

    code, severity, certain, topic = "ML437", Severity.ERROR, True, "loss"
    words = (
        "logvar",
        "log_var",
        ("alpha", "rand_like", pattern(rb"alphas?_?(?:cumprod|bar|hat)")),
        ("q_sample", "rand"),
    )
    bad = (
        """
        def sample(self, mu, logvar):
            std = logvar
            return mu + torch.randn_like(std) * std
        """,
        """
        def reparameterize(self, mu, logvar):
            std = torch.exp(0.5 * logvar)
            eps = torch.randn_like(std)
            return mu + eps * std.detach()
        """,
        """
        def reparameterize(self, mu, logvar):
            std = torch.exp(0.5 * logvar)
            eps = torch.rand_like(std)
            return mu + eps * std
        """,
        """
        def reparameterize(mu, log_var):
            std = log_var.exp()
            return mu + torch.randn_like(std) * std
        """,
        """
        def loss_function(recon, x, mu, logvar):
            kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar)
            return F.binary_cross_entropy(recon, x, reduction="sum") + kld
        """,
        """
        def forward(self, x0, t):
            noise = torch.rand_like(x0)
            return F.mse_loss(self.model(self.q_sample(x0, t, noise), t), noise)
        """,
        """
        def reparameterize(self, mu, logvar):
            std = torch.exp(0.5 * logvar)
            return mu + torch.rand_like(std) * std
        """,
        """
        class V(nn.Module):
            def reparameterize(self, mu, logvar):
                std = torch.exp(0.5 * logvar)
                return torch.distributions.Normal(mu, std).sample()

        def loss_function(recon, x, mu, logvar):
            kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            return F.mse_loss(recon, x, reduction="sum") + kld
        """,
    )
    fixed = (
        None,
        None,
        """
        def reparameterize(self, mu, logvar):
            std = torch.exp(0.5 * logvar)
            eps = torch.randn_like(std)
            return mu + eps * std
        """,
        None,
        None,
        """
        def forward(self, x0, t):
            noise = torch.randn_like(x0)
            return F.mse_loss(self.model(self.q_sample(x0, t, noise), t), noise)
        """,
        """
        def reparameterize(self, mu, logvar):
            std = torch.exp(0.5 * logvar)
            return mu + torch.randn_like(std) * std
        """,
        None,
    )
    suspected = (
        """
        class Vae(nn.Module):
            def forward(self, x, generate=False):
                mu, logvar = self.encode(x)
                std = torch.exp(0.5 * logvar)
                kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
                if generate:
                    return self.decoder(Normal(mu, std).sample())
                return self.decoder(mu + std * torch.randn(std.shape)), kl
        """,
    )
    good = (
        """
        class V(nn.Module):
            def sample(self, mu, logvar):
                std = torch.exp(0.5 * logvar)
                if self.training:
                    return mu + torch.randn_like(std) * std
                return torch.distributions.Normal(mu, std).sample()

        def draw(mu, logvar):
            with torch.no_grad():
                return torch.distributions.Normal(mu, torch.exp(0.5 * logvar)).sample()

        def loss_function(recon, x, mu, logvar):
            kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            return F.mse_loss(recon, x, reduction="sum") + kld
        """,
        """
        class Gumbel(nn.Module):
            def forward(self, mu, logvar):
                std = torch.exp(0.5 * logvar)
                eps = torch.rand_like(std)
                eps = -torch.log(-torch.log(eps + 1e-9) + 1e-9)
                return mu + std * eps
        """,
        """
        class V(nn.Module):
            def sample(self, mu, logvar):
                std = torch.exp(0.5 * logvar)
                noisy = mu.detach() + torch.randn_like(std) * std.detach()  # for a plot
                return mu + torch.randn_like(std) * std, noisy
        """,
        """
        class V(nn.Module):
            def sample(self, mu, logvar):
                std = torch.exp(0.5 * logvar)
                with torch.no_grad():
                    return mu + std.detach() * torch.randn_like(std)
        """,
        """
        class V(nn.Module):
            def sample(self, mu, logvar):
                logvar = torch.exp(0.5 * logvar)
                std = logvar
                return mu + torch.randn_like(std) * std
        """,
        """
        class V(nn.Module):
            def sample(self, mu, log_var):
                std = log_var
                std = torch.exp(0.5 * std)
                return mu + torch.randn_like(std) * std
        """,
        """
        class V(nn.Module):
            def encode(self, h):
                mu = self.mu(h)
                logvar = F.softplus(self.lv(h))
                std = logvar
                return mu + torch.randn_like(std) * std
        """,
        """
        def sample(mu, logvar):
            std = torch.exp(0.5 * logvar)
            noise = torch.randn_like(std)
            shown = std.detach()
            return mu + noise.data * std, shown
        """,
        """
        class Vae(nn.Module):
            def forward(self, x):
                noise = torch.rand_like(x)
                mu, logvar = self.encode(x + noise * (1 / 256)).chunk(2, 1)  # grey levels are made continuous
                return self.decode(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu))
        """,
        """
        def reparameterize(self, mu, logvar):
            std = torch.exp(0.5 * logvar)
            eps = torch.randn_like(std)
            sigma = logvar.exp().sqrt()
            return mu + eps * sigma

        def loss_function(recon, x, mu, logvar):
            return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        """,
        """
        def penalty(real, fake, logvar):
            eps = torch.rand(len(real), 1)
            first = eps * real + (1 - eps) * fake
            second = fake + eps * (real - fake)
            return first, second
        """,
        """
        def gumbel(logits, log_variance):
            noise = torch.rand_like(logits)
            return logits - torch.log(-torch.log(noise)), log_variance
        """,
        """
        def sample(mu, log_sigma, log_var_prior):
            sigma = log_sigma.exp()
            return mu + torch.randn_like(mu) * sigma
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for event in function.events:
                if uniform.stands(script, function, event) and event.value is not None:
                    message = f"`{event.name}` is uniform between 0 and 1, where a Gaussian is sampled"
                    yield self.at(event.value, message, certain=uniform.is_gaussian(function, event.name))
            if any(map(variance.DEVIATION.fullmatch, tensors.bindings(function))):
                yield from self._deviations(script, function)
            yield from self._divergences(function)
        if "sample" in script.called and script.called.isdisjoint(DIFFERENTIABLE):
            yield from self._sampled(script)

    def _deviations(self, script: Script, function: Function) -> Iterator[Diagnostic]:
        """How a function comes to the deviation of a latent, and what it does with it."""
        cuts = not CUTS.isdisjoint(script.attributes | script.called)
        for event in (event for event in function.events if not uniform.stands(script, function, event)):
            value = event.value
            if value is None:
                continue
            named = event.kind == "assign" and variance.DEVIATION.fullmatch(event.name) is not None
            if named and variance.is_logarithm(function, event):
                yield self.at(value, f"`{value}` is the logarithm of a variance, and is taken for the deviation")
            elif (drawn := _drawn(function, value)) is not None:
                yield self.at(drawn, f"`{drawn}` is uniform between 0 and 1, where a Gaussian is sampled")
            elif cuts and (cut := _cut(function, event)) is not None:
                yield self.at(cut, f"`{cut}` cuts the deviation off: nothing learns it through the sample")
            elif named and (given := variance.exponent(value)):
                message = f"`{value}` is a variance: the deviation is `exp(0.5 * {given})`"
                sure = any(map(variance.takes_variance, script.functions)) and not variance.takes_root(function)
                yield self.at(value, message, certain=sure)

    def _sampled(self, script: Script) -> Iterator[Diagnostic]:
        """Latents of a variational model that are drawn without a way back to what they are drawn by."""
        if not any(map(variance.takes_variance, script.functions)):
            return
        for function in (f for f in script.functions if REPARAMETERIZES.search(f.name) and not f.decorators):
            for event in function.events:
                call = event.value if event.kind == "call" else None
                if call is None or call.method != "sample" or call.arguments or call.receiver is None:
                    continue
                made = tensors.made(function, call.receiver)
                spread = made.argument(1, "scale") if made.method == "Normal" else None
                learned = spread is not None and any(
                    variance.LOG_VARIANCE.fullmatch(v.name) for v in tensors.origins(function, spread)
                )
                standard = any(
                    name in str(side) for side in (made.argument(0, "loc"), spread) for name in ("zeros", "ones")
                )
                if learned and not standard and not _is_unlearned(function, event) and not asks_mode(function):
                    message = (
                        "samples without a gradient: nothing learns the mean and the deviation; `rsample()` has one"
                    )
                    yield self.at(call, message, certain=event.block < 0 and ALWAYS.search(function.name) is not None)

    def _divergences(self, function: Function) -> Iterator[Diagnostic]:
        for value, plus, minus in variance.sums(function):
            found = next((term for term in minus if term in plus and variance.LOG_VARIANCE.fullmatch(term)), "")
            if found and "1" in plus and len(minus) > 1:
                yield self.at(value, f"adds `{found}` and takes it off again: `exp({found})` is meant")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for function in script.functions:
            for call in function.calls:
                if call.location == finding.location and call.name in uniform.UNIFORM:
                    return Fix((edit.rename(call, uniform.UNIFORM[call.name].rpartition(".")[2]),))
        return None


def _drawn(function: Function, value: Value) -> Value | None:
    """Uniform noise that is scaled by a deviation and added, in one expression."""
    for part in value.within():
        for product in part.arguments if part.kind == "operation" and part.name == "+" else ():
            noise = next((factor for factor in product.arguments if factor.name in uniform.UNIFORM), None)
            if (
                product.name == "*"
                and noise is not None
                and any(variance.is_deviation(function, f) for f in product.arguments)
            ):
                return noise
    return None


def _cut(function: Function, event: Event) -> Value | None:
    """A deviation that is cut off its graph where noise is scaled by it and added to the mean."""
    if event.value is None or event.kind not in ("return", "assign"):
        return None
    factors = (factor for part in event.value.within() for factor in _scales(part))
    products = [part for part in function.values if part.name == "*"]
    learned = {argument.name for product in products for argument in product.arguments}  # elsewhere, with its graph
    for factor in factors:
        owner = factor.receiver
        unlearned = owner is not None and owner.name not in learned and variance.is_deviation(function, owner)
        if unlearned and not _is_unlearned(function, event):
            return factor
    return None


def _scales(value: Value) -> Iterator[Value]:
    """The factors that are cut off, in the product that is added last to what keeps its graph."""
    if value.name != "+" or len(value.arguments) != 2 or value.arguments[0].method in CUTS:
        return
    product = value.arguments[1]
    if product.name == "*":
        yield from (factor for factor in product.arguments if factor.method in CUTS)


def _is_unlearned(function: Function, event: Event) -> bool:
    return any("no_grad" in str(function.blocks[block].value) for block in function.enclosing(event.block))
