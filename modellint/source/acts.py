"""What one call of a library does to gradients, weights and their schedule."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator

from modellint.core.record import replace

from . import gradient
from .branches import arms
from .code import Function, Value
from .evaluating import called_as
from .facts import Act
from .lineage import Lineage
from .models import Models
from .modes import Modes
from .numbers import Numbers
from .objective import Objective
from .parameters import Parameters
from .registration import WEIGHTED
from .relevance import CLEARING, Relevance
from .resolve import Resolver
from .roles import CONVENTIONS, Roles
from .schedules import Schedules
from .scope import Source
from .script import Script
from .vocabulary import CLIP_METHODS, CLIPS, HARMLESS, NO_MODELS, sounds_like_optimizer

CUTTING = frozenset({"detach", "data", "no_grad", "inference_mode", "numpy"})
PARTS = ("modules", "children", "named_modules", "named_children")
BUILTINS = frozenset(dir(builtins))
BOUNDS = ((1, "max_norm"), (None, "clip_value"), (None, "clip_val"))


class Acts:
    def __init__(self, resolver: Resolver, models: Models, relevance: Relevance) -> None:
        self.resolver = resolver
        self.relevance = relevance
        self.modes = Modes(resolver, models)
        self.roles = Roles(resolver)
        self.numbers = Numbers(resolver)
        self.parameters = Parameters(resolver)
        self.lineage = Lineage(resolver)
        self.beyond = Lineage(resolver, beyond=True)
        self.objective = Objective(self.lineage)
        self.schedules = Schedules(resolver)

    def of(self, source: Source, roles: set[str]) -> Act | None:
        """`roles` are those of the object whose method is called."""
        call, receiver = source.value, source.value.receiver
        first = call.arguments[0] if call.arguments else None
        if call.name in CLIPS or call.method in CLIP_METHODS or self._is_clip(source):
            return self._clip(source, roles)
        if call.method in ("backward", "manual_backward"):
            return self._backward(source, roles)
        if call.method == "zero_grad" and receiver is not None:
            return self._clear(source, receiver, roles)
        if call.method == "zero_" and receiver is not None and ".grad" in f".{receiver}":
            return self._act("clear", source)
        if call.method == "unscale_" and first is not None:
            return self._act("unscale", source, subjects=self._subjects(source.of(first)))
        if call.method in ("step", "optimizer_step") and first is not None and self._is_optimizer(first, source):
            return self.step(source, first, scaled="scaler" in roles)
        if call.method == "step" and "framework" in roles:
            return self._act("step", source, owner="framework")
        if call.method == "step" and "scheduler" in roles and receiver is not None:
            moved = tuple(self.schedules.of(source.of(receiver)))
            return replace(self._act("schedule", source, subjects=self._subjects(source.of(receiver))), schedules=moved)
        if call.method in ("eval", "train") and receiver is not None and len(call.arguments) <= 1:
            return self._mode(source, receiver)
        if call.method == "apply" and receiver is not None and first is not None:
            return self._applied(source, receiver, first)
        return self._act("unknown", source) if self._may_clear(source) else None

    def step(self, source: Source, optimizer: Value, *, scaled: bool = False) -> Act:
        asked = source.of(optimizer)
        held = self.parameters.of_optimizer(asked)
        return self._act("step", source, subjects=self._subjects(asked), parameters=held, scaled=scaled)

    def model(self, source: Source) -> Act | None:
        """The call of a model, if it is one."""
        call = source.value
        name = called_as(call)
        if call.base is not None or not _may_be_model(name):
            return None
        called = source.of(Value("name", name, location=call.location))
        if "model" not in self.roles.of(called):
            return None
        act = self._act("model", source, parameters=self.parameters.of_module(called))
        recorded = self._always_recorded(source) and self._may_learn(called)
        return replace(act, modal=self.modes.tell(called), recorded=True if recorded else None)

    def _always_recorded(self, source: Source) -> bool:
        """Whether no model that may be called turns autograd off by itself, or differentiates."""
        for callee in self.resolver.calls.callees(source):
            function, script = callee.function, callee.script
            if function is None or script is None:
                continue
            if gradient.handled(script) or "grad" in script.called or self._differentiates(function, script):
                return False
            if not all(gradient.recorded(function, block) for block in range(len(function.blocks))):
                return False
        return True

    def _differentiates(self, forward: Function, script: Script) -> bool:
        names = self.relevance.reach.names(script, "backward")
        near = (c for c in forward.calls if c.method in names or c.method == "backward")
        return any(
            call.method in ("backward", call.name)
            or self.resolver.project.function(script, f"{forward.owner}.{call.method}")
            for call in near
        )

    def _may_learn(self, called: Source) -> bool:
        """Whether a model that is called shows weights, or none of them can be read."""
        models = list(self.modes.models.made(called))
        names = [layer.name for model in models for layer in (*model.layers, *model.made)]
        foreign = any("." in name and not name.startswith("torch.") for name in names)
        return not models or foreign or any(not name or WEIGHTED.fullmatch(name) for name in names)

    def _is_clip(self, source: Source) -> bool:
        """Whether torch's function is called by another name: an alias, or a `partial` of it."""
        return any(callee.name in CLIPS for callee in self.resolver.calls.callees(source))

    def _clip(self, source: Source, roles: set[str]) -> Act:
        call = source.value
        given = call.argument(0, "parameters") if call.method not in CLIP_METHODS or call.name in CLIPS else None
        held = self.parameters.of(source.of(given)) if given is not None else ()
        return self._act("clip", source, owner=_owner(call, roles), parameters=held, bound=tuple(self._bound(source)))

    def _backward(self, source: Source, roles: set[str]) -> Act:
        call, owner = source.value, _owner(source.value, roles)
        of_argument = owner or call.name.startswith("torch.")
        loss = call.argument(0, "loss") if of_argument else call.receiver
        origins = self.lineage.of(source.of(loss)) if loss is not None else ()
        scaled = any(self._is_scaling(made) and _always(made, source) for made in origins)
        terms = list(self.lineage.terms(source.of(loss))) if loss is not None else []
        learned = tuple(f"{made.place}{part}" for made, part in terms if len(terms) == 1 or self._is_learned(made))
        act = self._act("backward", source, owner=owner, scaled=scaled)
        summands = tuple(self.objective.of(source.of(loss))) if loss is not None else ()
        cut = any(part.cut is not None for part in summands)
        behind = tuple(self._behind(source.of(loss), origins, cut)) if loss is not None else ()
        values = tuple([made.value for made in origins])
        return replace(act, origins=values, behind=behind, summands=summands, terms=learned)

    def _behind(self, loss: Source, origins: Iterable[Source], cut: bool) -> Iterator[Value]:
        reached = {id(made.value) for made in origins}
        if cut or not CUTTING.isdisjoint(loss.frame.script.attributes):
            yield from (made.value for made in self.beyond.of(loss) if id(made.value) not in reached)

    def _is_learned(self, made: Source) -> bool:
        """Whether a model or a loss is on the way to a value."""
        calls = [origin for origin in self.lineage.of(made) if origin.value.kind == "call"]
        return any(o.value.name.startswith("torch.nn.functional.") for o in calls) or any(map(self._is_trained, calls))

    def _is_trained(self, source: Source) -> bool:
        call = source.value
        called = source.of(Value("name", call.name, location=call.location))
        known = call.base is None and _may_be_model(call.name)
        return known and not {"model", "loss"}.isdisjoint(self.roles.of(called))

    def _clear(self, source: Source, receiver: Value, roles: set[str]) -> Act:
        asked, owner = source.of(receiver), _owner(source.value, roles)
        if "optimizer" in roles:
            held = self.parameters.of_optimizer(asked)
            return self._act("clear", source, owner=owner, subjects=self._subjects(asked), parameters=held)
        return self._act("clear", source, owner=owner, parameters=self.parameters.of_module(asked))

    def _is_scaling(self, made: Source) -> bool:
        call = made.value
        receiver = call.receiver if call.method == "scale" else None
        return receiver is not None and "scaler" in self.roles.of(made.of(receiver))

    def _may_clear(self, source: Source) -> bool:
        call = source.value
        if call.name.startswith(("torch.", "numpy.")) or call.name in BUILTINS or HARMLESS.search(call.method):
            return call.method == "_foreach_zero_"
        return CLEARING.fullmatch(call.method) is not None or any(self._is_optimizer(a, source) for a in call.arguments)

    def _is_optimizer(self, value: Value, source: Source) -> bool:
        named = value.kind in ("name", "item") and sounds_like_optimizer(str(value))
        return named and "optimizer" in self.roles.of(source.of(value))

    def _mode(self, source: Source, receiver: Value) -> Act:
        kind, asked = _mode(source.value), source.of(receiver)
        whole = next((whole for made in self.resolver.of(asked) for whole in _wholes(made)), None)
        if whole is not None:
            return self._of_parts(source, whole, {kind})
        modal = self.modes.tell(asked) if kind == "eval" else None
        return replace(self._act(kind, source, parameters=self.parameters.of_module(asked)), modal=modal)

    def _applied(self, source: Source, receiver: Value, given: Value) -> Act | None:
        """`net.apply(f)`, where `f` sets the mode of what it is given."""
        made = [s for s in self.resolver.of(source.of(given)) if s.value.kind == "function"]
        functions = (self.resolver.project.function(s.frame.script, s.value.name) for s in made)
        kinds = {_mode(c) for f in functions if f is not None for c in f.calls if c.method in ("eval", "train")}
        return self._of_parts(source, source.of(receiver), kinds) if kinds else None

    def _of_parts(self, source: Source, whole: Source, kinds: set[str]) -> Act:
        """The mode of some modules of a model; `self` is the one on which the method is called."""
        method = whole.frame.method if whole.value.name == "self" else None
        own = method.receiver if method is not None else None
        held = (own.place,) if own is not None else self.parameters.of_module(whole)
        return replace(self._act("mode", source, parameters=held), stills=kinds == {"eval"})

    def _bound(self, source: Source) -> Iterator[float]:
        given = next((v for place, name in BOUNDS if (v := source.value.argument(place, name)) is not None), None)
        yield from (s.value for s in self.numbers.of(source.of(given))) if given is not None else ()

    def _act(
        self,
        kind: str,
        source: Source,
        *,
        subjects: tuple[str, ...] = (),
        parameters: tuple[str, ...] = (),
        scaled: bool = False,
        owner: str = "",
        bound: tuple[float, ...] = (),
    ) -> Act:
        kept = _is_kept(source)
        return Act(kind, source.value, subjects, scaled, owner, kept, bound, parameters=parameters)

    def _subjects(self, source: Source) -> tuple[str, ...]:
        """What tells the objects apart that a value may be: where each is made, else its name and function."""
        found = [made for made in self.resolver.of(source) if made.value.kind != "constant"]
        return tuple([made.place if made.value.kind == "call" else _named(made) for made in found])


def _may_be_model(full: str) -> bool:
    """A name that may be a model's, before it is looked up: no class, no method of another object, no library's."""
    head, _, name = full.rpartition(".")
    if not name or name in NO_MODELS or (name[:1].isupper() and any(map(str.islower, name))):
        return False
    return head in ("", "self") or name in CONVENTIONS or head.startswith("self.")


def _wholes(made: Source) -> Iterator[Source]:
    """The model whose modules are gone through: `net` of `for m in net.modules()`."""
    parts = (part for part in made.value.within() if part.kind == "call" and part.method in PARTS)
    yield from (made.of(part.receiver) for part in parts if part.receiver is not None)


def _mode(call: Value) -> str:
    given = call.argument(0, "mode")
    if call.method == "eval" or given is None:
        return call.method
    return "mode" if not isinstance(given.constant, bool) else "train" if given.constant else "eval"


def _named(made: Source) -> str:
    """What nothing binds: an attribute is the same in all methods of an object, another name only in its function."""
    method = made.frame.method
    if method is not None and made.value.name.startswith("self."):
        of_object = method.receiver.place if method.receiver is not None else made.frame.script.path
        return f"{of_object}:{method.function.owner}:{made.value}"
    return f"{made.frame.path}>{made.frame.script.path}:{made.frame.function.name}:{made.value}"


def _always(made: Source, source: Source) -> bool:
    """Whether a value that was made on the way to another is made on every way that leads there."""
    arms_made = arms(made.frame.function, made.frame.function.events[made.at or 0].block)
    return set(arms_made) <= set(arms(source.frame.function, source.frame.function.events[source.at or 0].block))


def _is_kept(source: Source) -> bool:
    """Whether something uses what the call returns."""
    later = source.frame.function.events[(source.at or 0) + 1 :]
    line = source.value.location.end_line or 0
    statement = (e.value for e, _ in zip(later, range(8), strict=False) if (e.location.line or 0) <= line)
    return any(part is source.value for value in statement if value is not None for part in value.within())


def _owner(call: Value, roles: set[str]) -> str:
    """The framework that a call belongs to, if it is not torch's own."""
    if "framework" in roles or call.method == "manual_backward":
        return "framework"
    return "distributed autograd" if "dist_autograd" in call.name or "distributed.autograd" in call.name else ""
