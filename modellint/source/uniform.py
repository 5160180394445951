"""Noise that is drawn uniformly between 0 and 1, and whether it stands where a Gaussian is meant."""

from __future__ import annotations

import re

from modellint.core.pattern import pattern

from .code import Event, Function, Value
from .script import Script

UNIFORM = {"torch.rand_like": "torch.randn_like", "torch.rand": "torch.randn"}
NOISE = pattern(r"(.*_)?(eps|epsilon|noise)(_.*)?")
MODELS = pattern(r"log_?var|alphas?_?(cumprod|bars?|hats?)|one_minus_alpha|q_sample|add_noise", re.IGNORECASE)
SPREAD = pattern(r"std|sig|var|dev|exp|sqrt|alpha|beta|scale", re.IGNORECASE)
SCALES = pattern(r"(.*\.)?(std|std_?dev|stddev|sigma|sqrt_one_minus_?\w*)", re.IGNORECASE)
NOISES = frozenset({"q_sample", "add_noise"})  # that are given the noise


def stands(script: Script, function: Function, event: Event) -> bool:
    """Whether an event draws what is scaled and added as the noise of a variational or a diffusion model is."""
    return _is_drawn(function, event) and _is_modelled(script, function) and _is_added(function, event.name)


def _is_drawn(function: Function, event: Event) -> bool:
    """Whether noise is drawn so, and nothing else is made of it by its name: `u = -(-u.log()).log()`."""
    value = event.value
    made = value is not None and value.kind == "call" and value.name in UNIFORM
    if event.kind != "assign" or not made or NOISE.fullmatch(event.name) is None:
        return False
    own = (e for e in function.events if e is not event and e.name == event.name and e.kind in ("assign", "augment"))
    turned = any(call.method.endswith("_") and str(call.receiver) == event.name for call in function.calls)
    return not turned and not any(e.kind == "augment" or event.name in str(e.value) for e in own)


def is_gaussian(function: Function, noise: str) -> bool:
    """Whether the noise is scaled by what is a deviation, or is what a loss asks a diffusion for."""
    parts = list(function.values)
    products = [p for p in parts if p.name == "*" and any(factor.name == noise for factor in p.arguments)]
    scaled = any(SCALES.fullmatch(factor.method or factor.name) for p in products for factor in p.arguments)
    roots = any(part.method == "sqrt" and "alpha" in str(part) for product in products for part in product.within())
    asked = any("loss" in part.method and any(a.name == noise for a in part.arguments) for part in parts)
    return scaled or roots or asked


def _is_modelled(script: Script, function: Function) -> bool:
    """Whether the function, or the class that it is of, deals with a variational or a diffusion model."""
    events = (*function.events, *(e for f in script.functions if f.kind == "module" for e in f.events))
    names = [*(p.name for p in function.parameters), *script.attributes, *(e.name for e in events)]
    return any(MODELS.search(name) for name in names)


def _is_added(function: Function, noise: str) -> bool:
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
