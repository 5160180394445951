"""ML437."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.branches import asks_mode
from modellint.source.code import Event, Function, Value
from modellint.source.sums import terms

UNIFORM = {"torch.rand_like": "torch.randn_like", "torch.rand": "torch.randn"}
NOISE = pattern(r"(.*_)?(eps|epsilon|noise)(_.*)?")
DEVIATION = pattern(r"std|std_?dev|sigma|stddev", re.IGNORECASE)
LOG_VARIANCE = pattern(r"(.*[._])?(z_?)?log_?var(iance)?(_?[z\d])?", re.IGNORECASE)
MODELS = pattern(r"log_?var|alphas?_?(cumprod|bars?|hats?)|one_minus_alpha|q_sample|add_noise", re.IGNORECASE)
POSITIVE = pattern(r"exp|softplus|sqrt|square")
SPREAD = pattern(r"std|sig|var|dev|exp|sqrt|alpha|beta|scale", re.IGNORECASE)
REPARAMETERIZES = pattern(r"(?i)repar\w*$|sample_?(z|latent)\w*$|\bforward$")
DIFFERENTIABLE = frozenset(
    {"rsample", "log_prob", "randn_like", "normal_"}
)  # by which a file may sample where it trains
CUTS = frozenset({"data", "detach"})
SCALES = pattern(r"(.*\.)?(std|std_?dev|stddev|sigma|sqrt_one_minus_?\w*)", re.IGNORECASE)
ROOTS = frozenset({"sqrt", "sqrt_", "rsqrt", "diag", "diag_embed", "MultivariateNormal"})
ALWAYS = pattern(r"(^|\.)(forward|reparam\w*)$")
NOISES = frozenset({"q_sample", "add_noise"})  # that are given the noise


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
        cuts = not CUTS.isdisjoint(script.attributes | script.called)
        for function in script.functions:
            deviations = {e.name for e in function.events if e.kind == "assign" and DEVIATION.fullmatch(e.name)}
            for event in function.events:
                if event.value is None:
                    continue
                if _is_uniform(function, event) and _models(script, function) and _shapes(function, event.name):
                    message = f"`{event.name}` is uniform between 0 and 1, where a Gaussian is sampled"
                    yield self.at(event.value, message, certain=_is_gaussian(function, event.name))
                elif not deviations:
                    continue
                elif event.kind == "assign" and event.name in deviations and _is_log(function, event):
                    yield self.at(
                        event.value, f"`{event.value}` is the logarithm of a variance, and is taken for the deviation"
                    )
                elif (drawn := _drawn(function, event.value)) is not None:
                    yield self.at(drawn, f"`{drawn}` is uniform between 0 and 1, where a Gaussian is sampled")
                elif cuts and (cut := _cut(function, event)) is not None:
                    yield self.at(cut, f"`{cut}` cuts the deviation off: nothing learns it through the sample")
                elif event.kind == "assign" and event.name in deviations and (given := _exponent(event.value)):
                    message = f"`{event.value}` is a variance: the deviation is `exp(0.5 * {given})`"
                    sure = any(map(_means_variance, script.functions)) and not _takes_root(function)
                    yield self.at(event.value, message, certain=sure)
            yield from self._divergences(function)
        if "sample" in script.called and script.called.isdisjoint(DIFFERENTIABLE):
            yield from self._sampled(script)

    def _sampled(self, script: Script) -> Iterator[Diagnostic]:
        """Latents of a variational model that are drawn without a way back to what they are drawn by."""
        if not any(map(_means_variance, script.functions)):
            return
        for function in (f for f in script.functions if REPARAMETERIZES.search(f.name) and not f.decorators):
            for event in function.events:
                call = event.value if event.kind == "call" else None
                if call is None or call.method != "sample" or call.arguments or call.receiver is None:
                    continue
                made = tensors.made(function, call.receiver)
                spread = made.argument(1, "scale") if made.method == "Normal" else None
                learned = spread is not None and any(
                    LOG_VARIANCE.fullmatch(v.name) for v in tensors.origins(function, spread)
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
        for value, plus, minus in _sums(function):
            found = next((term for term in minus if term in plus and LOG_VARIANCE.fullmatch(term)), "")
            if found and "1" in plus and len(minus) > 1:
                yield self.at(value, f"adds `{found}` and takes it off again: `exp({found})` is meant")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for function in script.functions:
            for call in function.calls:
                if call.location == finding.location and call.name in UNIFORM:
                    return Fix((edit.rename(call, UNIFORM[call.name].rpartition(".")[2]),))
        return None


def _is_uniform(function: Function, event: Event) -> bool:
    """Whether noise is drawn so, and nothing else is made of it by its name: `u = -(-u.log()).log()`."""
    value = event.value
    made = value is not None and value.kind == "call" and value.name in UNIFORM
    if event.kind != "assign" or not made or NOISE.fullmatch(event.name) is None:
        return False
    own = (e for e in function.events if e is not event and e.name == event.name and e.kind in ("assign", "augment"))
    turned = any(call.method.endswith("_") and str(call.receiver) == event.name for call in function.calls)
    return not turned and not any(e.kind == "augment" or event.name in str(e.value) for e in own)


def _is_gaussian(function: Function, noise: str) -> bool:
    """Whether the noise is scaled by what is a deviation, or is what a loss asks a diffusion for."""
    parts = list(function.values)
    products = [p for p in parts if p.name == "*" and any(factor.name == noise for factor in p.arguments)]
    scaled = any(SCALES.fullmatch(factor.method or factor.name) for p in products for factor in p.arguments)
    roots = any(part.method == "sqrt" and "alpha" in str(part) for product in products for part in product.within())
    asked = any("loss" in part.method and any(a.name == noise for a in part.arguments) for part in parts)
    return scaled or roots or asked


def _takes_root(function: Function) -> bool:
    """Whether a variance is made a deviation later, or is handed on as one."""
    powers = (part.arguments[1].constant for part in function.values if part.name == "**" and len(part.arguments) == 2)
    return any(call.method in ROOTS for call in function.calls) or 0.5 in powers


def _drawn(function: Function, value: Value) -> Value | None:
    """Uniform noise that is scaled by a deviation and added, in one expression."""
    for part in value.within():
        for product in part.arguments if part.kind == "operation" and part.name == "+" else ():
            noise = next((factor for factor in product.arguments if factor.name in UNIFORM), None)
            if product.name == "*" and noise is not None and any(_is_deviation(function, f) for f in product.arguments):
                return noise
    return None


def _models(script: Script, function: Function) -> bool:
    """Whether the function, or the class that it is of, deals with a variational or a diffusion model."""
    events = (*function.events, *(e for f in script.functions if f.kind == "module" for e in f.events))
    names = [*(p.name for p in function.parameters), *script.attributes, *(e.name for e in events)]
    return any(MODELS.search(name) for name in names)


def _shapes(function: Function, noise: str) -> bool:
    """Whether the noise is scaled and added to something, and nothing is mixed in shares of it."""
    parts = list(function.values)
    operations = [part for part in parts if part.kind == "operation" and len(part.arguments) == 2]
    if any(part.name == "-" and part.arguments[1].name == noise for part in operations):
        return False
    products = [part for side in operations if side.name == "+" for part in side.arguments if part.name == "*"]
    scaled = [part for part in products if any(factor.name == noise for factor in part.arguments) and _spreads(part)]
    mixed = any(factor.kind == "operation" and factor.name == "-" for product in scaled for factor in product.arguments)
    given = any(part.method in NOISES and any(a.name == noise for a in part.arguments) for part in parts)
    return (bool(scaled) and not mixed) or given


def _spreads(product: Value) -> bool:
    """Whether a deviation is in it: a grey level that is made continuous is spread by a number."""
    return any(SPREAD.search(part.name) for part in product.within())


def _exponent(value: Value) -> str:
    """The logarithm of a variance of which nothing but `exp()` is taken."""
    if value.kind != "call" or value.method != "exp":
        return ""
    given = tensors.operand(value)
    return given.name if given is not None and given.kind == "name" and LOG_VARIANCE.fullmatch(given.name) else ""


def _is_log(function: Function, event: Event) -> bool:
    """Whether a name is bound to a logarithm once and for all, and that is made by nothing that makes it positive."""
    value = event.value
    if value is None or value.kind != "name" or LOG_VARIANCE.fullmatch(value.name) is None or "." in value.name:
        return False
    others = [e for e in function.events if e.kind in ("assign", "augment") and e is not event]
    positive = any(e.name == value.name and POSITIVE.search(str(e.value)) for e in others)
    return not positive and all(e.name != event.name for e in others)


def _cut(function: Function, event: Event) -> Value | None:
    """A deviation that is cut off its graph where noise is scaled by it and added to the mean."""
    if event.value is None or event.kind not in ("return", "assign"):
        return None
    factors = (factor for part in event.value.within() for factor in _scales(part))
    products = [part for part in function.values if part.name == "*"]
    learned = {argument.name for product in products for argument in product.arguments}  # elsewhere, with its graph
    return next(
        (
            f
            for f in factors
            if f.receiver is not None
            and f.receiver.name not in learned
            and _is_deviation(function, f.receiver)
            and not _is_unlearned(function, event)
        ),
        None,
    )


def _scales(value: Value) -> Iterator[Value]:
    """The factors that are cut off, in the product that is added last to what keeps its graph."""
    if value.name != "+" or len(value.arguments) != 2 or value.arguments[0].method in CUTS:
        return
    product = value.arguments[1]
    if product.name == "*":
        yield from (factor for factor in product.arguments if factor.method in CUTS)


def _is_deviation(function: Function, owner: Value | None) -> bool:
    """Whether it is named so, and made by an exponential."""
    if owner is None or DEVIATION.fullmatch(owner.name) is None:
        return False
    made = [value for value in tensors.bounds(function, owner.name) if "exp" in str(value)]
    return any(LOG_VARIANCE.fullmatch(part.name) for value in made for part in value.within())


def _is_unlearned(function: Function, event: Event) -> bool:
    return any("no_grad" in str(function.blocks[block].value) for block in function.enclosing(event.block))


def _means_variance(function: Function) -> bool:
    """Whether a divergence takes off the exponential of what it adds: `1 + logvar - mu ** 2 - logvar.exp()`."""
    for _, plus, minus in _sums(function):
        if any("exp" in term and name in term for term in minus for name in plus if LOG_VARIANCE.fullmatch(name)):
            return True
    return False


def _sums(function: Function) -> Iterator[tuple[Value, list[str], list[str]]]:
    """The sums that calls are given, with what they add and what they take off."""
    for value in (part for call in function.calls for part in (*call.arguments, call.base) if part is not None):
        if value.name in ("+", "-") and any(LOG_VARIANCE.fullmatch(part.name) for part in value.within()):
            plus, minus = ([term for term, sign in terms(value) if sign == kept] for kept in (1, -1))
            if plus and minus:
                yield value, [str(term) for term in plus], [str(term) for term in minus]
