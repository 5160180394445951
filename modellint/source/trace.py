"""What a function does to gradients and weights, in execution order, through the helpers that it calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .branches import Branches, arms
from .code import Event, Value
from .facts import Act
from .numbers import Numbers
from .place import loops
from .relevance import CLEARING, Relevance
from .resolve import Resolver
from .roles import Roles
from .scope import Frame, Source
from .vocabulary import CLIP_METHODS, CLIPS, HARMLESS

DEEPEST = 10  # helpers within helpers
LONGEST = 20_000  # events looked at for one function


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """Where in the execution something is done."""

    branches: Branches = ()
    loops: tuple[str, ...] = ()
    chain: tuple[int, ...] = ()  # the functions that are being executed


class Tracer:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.roles = Roles(resolver)
        self.numbers = Numbers(resolver)
        self.relevance = Relevance(resolver.project)
        self._left = LONGEST

    def trace(self, frame: Frame) -> Iterator[Act]:
        """The acts; their `loops` are those of the whole way from `frame`, outermost first."""
        self._left = LONGEST
        yield from self._run(frame, Spot())

    def _run(self, frame: Frame, spot: Spot) -> Iterator[Act]:
        chain = (*spot.chain, id(frame.function))
        for index, event in enumerate(frame.function.events):
            self._left -= 1
            if self._left < 0:
                return
            if event.kind == "call" and event.value is not None and self.relevance.call(event.value, frame.script):
                here = Spot(spot.branches + arms(frame.function, event.block), spot.loops, chain)
                yield from self._called(Source(event.value, frame, index), here)
            elif event.name.endswith(".grad") and _forgets(event):
                cleared = Value("name", event.name, location=event.location)
                branches = spot.branches + arms(frame.function, event.block)
                yield Act("clear", cleared, branches=branches, loops=spot.loops + loops(frame, event.block))

    def _called(self, source: Source, spot: Spot) -> Iterator[Act]:
        call = source.value
        receiver = call.receiver
        roles = self.roles.of(Source(receiver, source.frame, source.at)) if receiver is not None else set()
        if call.method == "step" and "optimizer" in roles:
            yield from self._closure(source, spot)
            yield self._act("step", source, spot, receiver)
            return
        callees = self.resolver.calls.callees(source)
        entered = next(
            (frame for callee in callees if (frame := self.resolver.calls.enter(callee, source)) is not None), None
        )
        if entered is None:
            yield from self._of_library(source, spot, roles)
        elif (
            id(entered.function) not in spot.chain
            and len(spot.chain) < DEEPEST
            and self.relevance.function(entered.function, entered.script)
        ):
            yield from self._run(entered, self._inside(source, spot))

    def _closure(self, source: Source, spot: Spot) -> Iterator[Act]:
        """What `step(closure)` evaluates first."""
        given = source.value.argument(0, "closure")
        for made in self.resolver.sources(given, source.frame, source.at) if given is not None else []:
            function = self.resolver.project.function(made.frame.script, made.value.name)
            if made.value.kind == "function" and function is not None:
                frame = Frame(made.frame.script, function, outer=made.frame, path=made.frame.path)
                yield from self._run(frame, self._inside(source, spot))

    def _of_library(self, source: Source, spot: Spot, roles: set[str]) -> Iterator[Act]:
        call, receiver = source.value, source.value.receiver
        first = call.arguments[0] if call.arguments else None
        if call.name in CLIPS or call.method in CLIP_METHODS:
            yield self._act("clip", source, spot, None, bound=self._bound(source))
        elif call.method in ("backward", "manual_backward"):
            yield self._act("backward", source, spot, None, scaled=_scaled(source), owner=_owner(call, roles))
        elif call.method == "zero_grad":
            yield self._act(
                "clear", source, spot, receiver if "optimizer" in roles else None, owner=_owner(call, roles)
            )
        elif call.method == "zero_" and receiver is not None and ".grad" in f".{receiver}":
            yield self._act("clear", source, spot, None)
        elif call.method == "unscale_":
            yield self._act("unscale", source, spot, first)
        elif call.method in ("step", "optimizer_step") and first is not None and self._is_optimizer(first, source):
            yield self._act("step", source, spot, first, scaled="scaler" in roles)
        elif call.method == "step" and "framework" in roles:
            yield self._act("step", source, spot, None, owner="framework")
        elif self._may_clear(source):
            yield self._act("unknown", source, spot, None)

    def _may_clear(self, source: Source) -> bool:
        call = source.value
        if call.name.startswith(("torch.", "numpy.")) or HARMLESS.search(call.method):
            return False
        return CLEARING.fullmatch(call.method) is not None or any(self._is_optimizer(a, source) for a in call.arguments)

    def _is_optimizer(self, value: Value, source: Source) -> bool:
        return value.kind in ("name", "item") and "optimizer" in self.roles.of(Source(value, source.frame, source.at))

    def _bound(self, source: Source) -> tuple[float, ...]:
        given = (
            source.value.argument(1, "max_norm")
            or source.value.argument(None, "clip_value")
            or source.value.argument(None, "clip_val")
        )
        return (
            tuple(s.value for s in self.numbers.of(Source(given, source.frame, source.at))) if given is not None else ()
        )

    def _act(
        self,
        kind: str,
        source: Source,
        spot: Spot,
        subject: Value | None,
        *,
        scaled: bool = False,
        owner: str = "",
        bound: tuple[float, ...] = (),
    ) -> Act:
        subjects = tuple(self._subjects(Source(subject, source.frame, source.at))) if subject is not None else ()
        around = self._inside(source, spot, subject if kind == "step" else None).loops
        return Act(kind, source.value, subjects, scaled, owner, _is_kept(source), bound, spot.branches, around)

    def _inside(self, source: Source, spot: Spot, subject: Value | None = None) -> Spot:
        """The place with the loops of its own function that are around it."""
        block = source.frame.function.events[source.at or 0].block
        return replace(spot, loops=spot.loops + loops(source.frame, block, subject))

    def _subjects(self, source: Source) -> Iterator[str]:
        """What tells the objects apart that a value may be: where each is made, else its name and function."""
        for made in self.resolver.of(source):
            if made.value.kind == "call":
                yield made.place
            elif made.value.kind != "constant":
                yield f"{made.frame.path}>{made.frame.script.path}:{made.frame.function.name}:{made.value}"


def _forgets(event: Event) -> bool:
    value = event.value
    return event.kind == "delete" or (value is not None and value.kind == "constant" and value.constant is None)


def _is_kept(source: Source) -> bool:
    """Whether something uses what the call returns."""
    later = source.frame.function.events[(source.at or 0) + 1 :]
    line = source.value.location.end_line or 0
    statement = (e.value for e, _ in zip(later, range(8), strict=False) if (e.location.line or 0) <= line)
    return any(part is source.value for value in statement if value is not None for part in value.within())


def _scaled(source: Source) -> bool:
    """Whether backward() starts from a loss that a gradient scaler has multiplied."""
    call, function = source.value, source.frame.function
    if any(part.kind == "call" and part.method == "scale" for part in call.within()):
        return True
    contexts = (function.blocks[b].value for b in function.enclosing(function.events[source.at or 0].block))
    return any(value is not None and value.method == "scale_loss" for value in contexts)


def _owner(call: Value, roles: set[str]) -> str:
    """The framework that a call belongs to, if it is not torch's own."""
    if "framework" in roles or call.method == "manual_backward":
        return "framework"
    return "distributed autograd" if "dist_autograd" in call.name or "distributed.autograd" in call.name else ""
