"""ML472."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value

DEEPEST = 12
KEEPS = frozenset("view reshape to unsqueeze gather index_select float cuda expand expand_as type".split())
PICKED = frozenset({"gather", "index_select", "take"})
NAMED = pattern(r"(\w+_)?(noise|eps|epsilon)")
PICKS = pattern(r"_?(extract|gather|get_index|get_value|pick)\w*")  # what belongs to the steps, out of a table
BETAS = pattern(rb"\b1(?:\.0*)?\s*-[\s(]*[^\n]*beta")
NOISE = frozenset({"randn", "randn_like", "normal"})
PRODUCT, ROOT, REST, ROOT_OF_REST, REST_OF_ROOT = "a", "sqrt(a)", "1 - a", "sqrt(1 - a)", "1 - sqrt(a)"


class NoiseNotRooted(SourceRule):
    """The forward process of a diffusion mixes data and noise with coefficients that keep no variance: a root is missing.

    Why: with `a = cumprod(1 - beta)` the noisy sample is `sqrt(a) * x + sqrt(1 - a) * noise`. Without a root, or with
        `1 - sqrt(a)`, its variance is not that of the data: the model is trained on samples that the sampler never gives it.
    Fix: `a.sqrt() * x + (1 - a).sqrt() * noise`.
    Ignore: when another schedule, with a sampler of its own, is meant: a straight line from data to noise has no cumprod.
    Reported: https://github.com/acids-ircam/diffusion_models/issues/1,
        https://github.com/Ryota-Kawamura/How-Diffusion-Models-Work/issues/1
    """

    code, severity, certain, topic = "ML472", Severity.WARNING, True, "loss"
    words = (("cumprod(", "randn", BETAS),)
    calls = ("cumprod",)
    bad = (
        """
        betas = torch.linspace(1e-4, 0.02, 1000)
        alpha_bar = torch.cumprod(1 - betas, dim=0)

        def q_sample(x, t):
            noise = torch.randn_like(x)
            a = alpha_bar[t].view(-1, 1, 1, 1)
            return a * x + (1 - a) * noise, noise
        """,
        """
        class Diffusion:
            def __init__(self, betas):
                self.alphas_cumprod = (1.0 - betas).cumprod(0)
                self.keep = torch.sqrt(self.alphas_cumprod)
                self.add = 1 - torch.sqrt(self.alphas_cumprod)

            def loss(self, model, x, t):
                noise = torch.randn_like(x)
                noisy = self.keep[t][:, None] * x + self.add[t][:, None] * noise
                return F.mse_loss(model(noisy, t), noise)
        """,
    )
    good = (
        """
        betas = torch.linspace(1e-4, 0.02, 1000)
        alpha_bar = torch.cumprod(1 - betas, dim=0)

        def q_sample(x, t):
            noise = torch.randn_like(x)
            a = alpha_bar[t].view(-1, 1, 1, 1)
            return a.sqrt() * x + (1 - a).sqrt() * noise, noise
        """,
        """
        class Diffusion:
            def __init__(self, betas):
                self.alphas_cumprod = (1.0 - betas).cumprod(0)
                self.keep = torch.sqrt(self.alphas_cumprod)
                self.add = (1 - self.alphas_cumprod) ** 0.5

            def loss(self, model, x, t):
                noise = torch.randn_like(x)
                noisy = self.keep[t][:, None] * x + self.add[t][:, None] * noise
                return F.mse_loss(model(noisy, t), noise)
        """,
        """
        def flow(model, x):
            t = torch.rand(len(x), 1)
            noise = torch.randn_like(x)
            return model(t * x + (1 - t) * noise, t), x - noise

        steps = torch.cumprod(sizes, dim=0)
        """,
        """
        def sigma_form(x, t):  # `keep` holds roots already
            keep = torch.cumprod((1 - betas).sqrt(), dim=0)[t]
            return keep * x + (1 - keep**2).sqrt() * torch.randn_like(x)
        """,
        """
        alpha_bar = torch.cumprod(1 - betas, dim=0)
        alpha_bar = alpha_bar.sqrt()
        noisy = alpha_bar[t] * x + (1 - alpha_bar[t] ** 2) ** 0.5 * torch.randn_like(x)
        """,
        """
        times = torch.cumprod(1 - betas, dim=0)

        def flow(model, x, i):  # its times are those of a schedule
            t = times[i].view(-1, 1)
            noise = torch.randn_like(x)
            return F.mse_loss(model(t * x + (1 - t) * noise, t), x - noise)
        """,
        """
        def stick(betas, mean):
            left = torch.cumprod(1 - betas, dim=-1)
            return left * mean + (1 - left) * torch.randn_like(mean)
        """,
        """
        class Transmittance:
            def render(self, alpha, color):
                seen = torch.cumprod(1 - alpha, dim=1)
                return seen * color + (1 - seen) * self.background + 0.1 * torch.randn_like(color)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in filter(_is_timed, script.functions):
            for event in function.events:
                value = event.value if event.kind in ("assign", "return") else None
                for part in value.within() if value is not None else ():
                    if part.kind == "operation" and part.name == "+" and len(part.arguments) == 2:
                        data, noise = part.arguments
                        if not _is_noise(function, noise):
                            data, noise = noise, data
                        if _is_noise(function, noise) and not _is_noise(function, data):
                            kept, added = (_weight(script, function, side) for side in (data, noise))
                            wrong = (kept, added) in ((PRODUCT, REST), (ROOT, REST_OF_ROOT), (ROOT, REST))
                            wrong = wrong or (kept, added) == (PRODUCT, ROOT_OF_REST)
                            if wrong and not _is_flow(function, data, noise):
                                message = f"mixes data by {kept} and noise by {added}: sqrt(a) and sqrt(1 - a) keep the variance"
                                yield self.at(part, message)


def _is_timed(function: Function) -> bool:
    """Whether it takes anything out of a table, as the coefficient of a step is."""
    return any(part.kind == "item" or part.method in PICKED or PICKS.fullmatch(part.method) for part in function.values)


def _is_flow(function: Function, *mixed: Value) -> bool:
    """Whether the two that are mixed are also taken from each other: the direction of a straight line between them."""
    ends = [{str(factor) for factor in side.arguments} for side in mixed]
    lines = ([str(side) for side in p.arguments] for p in function.values if p.kind == "operation" and p.name == "-")
    return any(a in x and b in y for line in lines if len(line) == 2 for a, b in (line, line[::-1]) for x, y in (ends,))


def _is_noise(function: Function, product: Value) -> bool:
    return (
        product.kind == "operation" and product.name == "*" and any(_is_random(function, p) for p in product.arguments)
    )


def _is_random(function: Function, value: Value) -> bool:
    if any(parameter.name == value.name for parameter in function.parameters):
        return NAMED.fullmatch(value.name) is not None
    made = _bound([function], value.name) if value.kind == "name" else value
    return made is not None and made.kind == "call" and made.method in NOISE


def _weight(script: Script, function: Function, product: Value) -> str:
    """What a side is multiplied by, in terms of the product of a schedule."""
    if product.kind != "operation" or product.name != "*" or len(product.arguments) != 2:
        return ""
    known = {_form(script, function, part, DEEPEST) for part in product.arguments} - {""}
    return known.pop() if len(known) == 1 else ""


def _form(script: Script, function: Function, value: Value, depth: int) -> str:
    if depth == 0:
        return ""
    if value.kind == "name":
        made = _bound(_scope(script, function, value.name), value.name)
        return _form(script, function, made, depth - 1) if made is not None else ""
    if value.kind == "item" and value.base is not None:
        return _form(script, function, value.base, depth)
    if value.kind == "operation" and len(value.arguments) == 2:
        first, second = value.arguments
        if value.name == "-" and first.constant == 1:
            return {PRODUCT: REST, ROOT: REST_OF_ROOT}.get(_form(script, function, second, depth - 1), "")
        if value.name == "**" and second.constant == 0.5:
            return _root(_form(script, function, first, depth - 1))
    if value.kind != "call":
        return ""
    if PICKS.fullmatch(value.method) and value.arguments and not value.name.startswith("torch."):
        return max(_form(script, function, part, depth - 1) for part in (value.receiver, *value.arguments) if part)
    inside = next(iter(value.arguments), value) if value.name.startswith("torch.") else value.receiver or value
    if value.method == "cumprod":
        return PRODUCT if _is_rest(script, function, inside, depth - 1) else ""
    if value.method in ("sqrt", *KEEPS) and inside is not value:
        form = _form(script, function, inside, depth - 1)
        return _root(form) if value.method == "sqrt" else form
    return ""


def _root(form: str) -> str:
    return {PRODUCT: ROOT, REST: ROOT_OF_REST}.get(form, "")


def _is_rest(script: Script, function: Function, value: Value, depth: int) -> bool:
    """`1 - betas`."""
    if value.kind == "name" and depth:
        made = _bound(_scope(script, function, value.name), value.name)
        return made is not None and _is_rest(script, function, made, depth - 1)
    return value.kind == "operation" and value.name == "-" and value.arguments[0].constant == 1 and "beta" in str(value)


def _scope(script: Script, function: Function, name: str) -> list[Function]:
    if name.startswith("self."):
        return [f for f in script.functions if f.owner == function.owner]
    own = any(e.name == name for e in function.events) or any(p.name == name for p in function.parameters)
    return [function] if own else [f for f in script.functions if f.kind == "module"]


def _bound(functions: list[Function], name: str) -> Value | None:
    """What a name holds, if it is bound once."""
    made = [e.value for f in functions for e in f.events if e.name == name and e.kind in ("assign", "augment")]
    return made[0] if len(made) == 1 else None
