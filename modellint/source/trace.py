"""What a function does to gradients and weights, in execution order, through the helpers that it calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modellint.core.record import dataclass, replace

from . import gradient
from .acts import Acts
from .branches import Branches, arms, leaving, passed
from .code import Event, Function, Value
from .contexts import Context, Contexts, Span
from .facts import Act
from .forwards import Forwards
from .kept import Kept
from .lineage import Lineage
from .models import Models
from .place import loop_id, loops
from .relevance import Relevance
from .resolve import Resolver
from .roles import Roles
from .scope import Callee, Frame, Source
from .vocabulary import NO_MODELS

DEEPEST = 10  # helpers within helpers
SHALLOW = 4  # helpers in which models are looked for
LONGEST = 20_000  # events looked at for one function
# Values looked at for one function: 22 public training repositories needed at most 25,385 (timm's train.py) and mostly
# below 4,000; in a compiler's code, which trains nothing, there is no end to them.
MOST, FEWEST = 40_000, 2_000


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """Where in the execution something is done."""

    branches: Branches = ()
    loops: tuple[str, ...] = ()
    chain: tuple[int, ...] = ()  # the functions that are being executed
    recorded: bool | None = True


class Tracer:
    def __init__(self, resolver: Resolver, models: Models) -> None:
        self.resolver = resolver
        self.roles = Roles(resolver)
        self.contexts = Contexts(resolver)
        self.relevance = Relevance(resolver.project)
        lineage = Lineage(resolver)
        self.acts = Acts(resolver, models, lineage)
        self.forwards = Forwards(resolver, models, self.relevance)
        self.kept = Kept(resolver, lineage)
        self._left = LONGEST
        self._most = MOST  # less where one function after the other comes to no end: such a project trains nothing
        self._leaving: dict[int, list[tuple[int, int]]] = {}
        self._entering: set[int] = set()
        self.entered: set[int] = set()  # the functions that traces have come to

    def trace(self, frame: Frame) -> tuple[Act, ...]:
        """The acts; their `loops` are those of the whole way from `frame`, outermost first.

        None where the function comes to more than can be followed: a part of the acts would look like a fault.
        """
        self._left, self._entering = LONGEST, set()
        self.resolver.allow(self._most)
        acts = tuple(self._decorated(frame, Spot()))
        followed = self._left >= 0 and not self.resolver.exhausted
        self.resolver.allow(None)
        self.resolver.forget()
        self._most = allowed(self._most, acts if followed else None)
        self.entered |= self._entering if followed else set()
        return acts if followed else ()

    def _run(self, span: Span, spot: Spot) -> Iterator[Act]:
        frame, chain = span.frame, (*spot.chain, id(span.frame.function))
        inside = replace(spot, chain=chain)
        opened: list[Context] = []
        for index, event in enumerate(frame.function.events[: span.stop]):
            if index < span.start:
                continue
            self._left -= 1
            if self._left < 0 or self.resolver.exhausted:
                return
            while opened and opened[-1].block not in frame.function.enclosing(event.block):
                yield from self._leave(opened.pop(), inside)
            if event.kind == "call" and event.value is not None:
                source = Source(event.value, frame, index)
                context = self._context(source)
                if context is not None:
                    opened.append(context)
                    yield from self._part(context.before, source, inside)
                else:
                    yield from self._call(source, inside)
            elif event.name.endswith(".grad") and (kind := _rewritten(event)):
                cleared = Value("name", event.name, location=event.location)
                yield from self._placed(Act(kind, cleared), Source(cleared, frame, index), inside)
            elif event.value is not None:
                yield from self._placed(self.kept.event(frame, index), Source(event.value, frame, index), inside)
        while opened:
            yield from self._leave(opened.pop(), inside)

    def _context(self, source: Source) -> Context | None:
        """The project's context manager that a call makes, if it may change anything."""
        changes = self.relevance.call(source.value, source.frame.script)
        return self.contexts.of(source) if changes else None

    def _leave(self, context: Context, spot: Spot) -> Iterator[Act]:
        yield from self._part(context.after, context.source, spot)

    def _part(self, span: Span | None, source: Source, spot: Spot) -> Iterator[Act]:
        if span is not None and id(span.frame.function) not in spot.chain and len(spot.chain) < DEEPEST:
            yield from self._run(span, self._inside(source, spot))

    def _call(self, source: Source, spot: Spot) -> Iterator[Act]:
        if self.relevance.call(source.value, source.frame.script):
            yield from self._called(source, spot)
        elif (act := self.forwards.of(source) or self.kept.call(source)) is not None:
            yield from self._placed(act, source, spot)
        elif len(spot.chain) < SHALLOW and source.value.method not in NO_MODELS:
            yield from self._inner(source, spot)

    def _inner(self, source: Source, spot: Spot) -> Iterator[Act]:
        """The calls of models in a function that itself changes nothing."""
        for callee in self.resolver.calls.callees(source)[:1]:
            entered = self.resolver.calls.enter(callee, source) if callee.made is None else None
            if entered is not None:
                yield from self._within(entered, source, spot)

    def _called(self, source: Source, spot: Spot) -> Iterator[Act]:
        call = source.value
        receiver = call.receiver
        roles = self.roles.of(Source(receiver, source.frame, source.at)) if receiver is not None else set()
        if call.method == "step" and "optimizer" in roles and "scheduler" not in roles and receiver is not None:
            yield from self._closure(source, spot)
            yield from self._placed(self.acts.step(source, receiver), source, spot, receiver)
            yield from self._clearing(source, spot)
            return
        if call.method == "zero_grad" and "optimizer" in roles:  # whatever it clears besides, or by whose help
            yield from self._placed(self.acts.of(source, roles), source, spot)
            return
        callees = self.resolver.calls.callees(source)
        frames = (self.resolver.calls.enter(callee, source) or self._constructor(callee, source) for callee in callees)
        entered = next((frame for frame in frames if frame is not None), None)
        if entered is None or _sets_mode(entered.function, call):
            act = self.acts.of(source, roles)
            stepped = call.argument(0) if act is not None and act.kind == "step" and act.subjects else None
            yield from self._placed(act, source, spot, stepped)
            if entered is not None:  # an own `train()` may leave parts in evaluation mode
                yield from (act for act in self._within(entered, source, spot) if act.kind == "eval" or act.stills)
        elif self.relevance.function(entered.function, entered.script) or _is_wrapper(entered):
            yield from self._within(entered, source, spot)

    def _clearing(self, source: Source, spot: Spot) -> Iterator[Act]:
        """What the `step()` of an optimizer of the project's own clears."""
        for callee in self.resolver.calls.callees(source)[:1]:
            entered = self.resolver.calls.enter(callee, source)
            if entered is not None:
                yield from (act for act in self._within(entered, source, spot) if act.kind == "clear")

    def _constructor(self, callee: Callee, source: Source) -> Frame | None:
        """The frame of `__init__` where an object is made."""
        if callee.class_ is None or callee.script is None:
            return None
        return next(self.resolver.members.methods(callee.script, callee.class_, "__init__", source), None)

    def _closure(self, source: Source, spot: Spot) -> Iterator[Act]:
        """What `step(closure)` evaluates first."""
        given = source.value.argument(0, "closure")
        for made in self.resolver.sources(given, source.frame, source.at) if given is not None else []:
            function = self.resolver.project.function(made.frame.script, made.value.name)
            if made.value.kind == "function" and function is not None:
                frame = Frame(made.frame.script, function, outer=made.frame, path=made.frame.path)
                yield from self._within(frame, source, spot)

    def _within(self, entered: Frame, source: Source, spot: Spot) -> Iterator[Act]:
        """What a function does that is called, unless it is being executed already."""
        if id(entered.function) not in spot.chain and len(spot.chain) < DEEPEST:
            around = self._inside(source, spot)
            over = _looped_over(source) if any(event.kind == "yield" for event in entered.function.events) else None
            if over is not None:  # a generator goes on in each pass of the loop
                around = replace(around, loops=(*around.loops, loop_id(source.frame, over)))
            yield from self._decorated(entered, around)

    def _decorated(self, frame: Frame, spot: Spot) -> Iterator[Act]:
        """What a function does, and what its decorators do around it."""
        self._entering.add(id(frame.function))
        around = list(self.contexts.around(frame))
        veiled = self.contexts.veils(frame)  # they may set any mode
        veils = [Act("mode", made, branches=spot.branches, loops=spot.loops) for made in veiled]
        yield from veils
        for before, _ in around:
            yield from self._run(before, spot)
        yield from self._run(Span(frame), spot)
        for _, after in reversed(around):
            yield from self._run(after, spot)
        yield from veils

    def _placed(self, act: Act | None, source: Source, spot: Spot, stepped: Value | None = None) -> Iterator[Act]:
        if act is not None:
            here = self._inside(source, spot, stepped)
            recorded = gradient.within(here.recorded, act.recorded)
            yield replace(act, branches=here.branches, loops=here.loops, recorded=recorded)

    def _inside(self, source: Source, spot: Spot, subject: Value | None = None) -> Spot:
        """The place with the branchings and loops of its own function that are around it."""
        function = source.frame.function
        block = function.events[source.at or 0].block
        around = spot.loops + loops(source.frame, block, subject)
        recorded = gradient.within(spot.recorded, gradient.recorded(function, block))
        return replace(
            spot, branches=spot.branches + self._branches(function, source.at or 0), loops=around, recorded=recorded
        )

    def _branches(self, function: Function, at: int) -> Branches:
        leaves = self._leaving.get(id(function))
        if leaves is None:
            leaves = self._leaving[id(function)] = leaving(function)
        return arms(function, function.events[at].block) + passed(function, at, leaves)


def allowed(values: int, acts: Iterable[Act] | None) -> int:
    """How many values may be looked at for the next function, after one that did `acts` or (None) came to no end."""
    if acts is None:
        return max(values // 2, FEWEST)
    return MOST if any(act.kind == "backward" for act in acts) else values


def _sets_mode(function: Function, call: Value) -> bool:
    """Whether `train()` or `eval()` of a module is its own and does what torch's does, besides more."""
    return call.method in ("eval", "train") and f"super.{call.method}" in [_plain(inner) for inner in function.calls]


def _plain(call: Value) -> str:
    return f"super.{call.method}" if call.receiver is not None and call.receiver.name == "super" else call.name


def _looped_over(source: Source) -> int | None:
    """The loop that goes over what a call gives."""
    blocks = source.frame.function.blocks
    over = (b for b, block in enumerate(blocks) if block.kind == "for" and block.value is not None)
    return next(
        (b for b in over if any(part is source.value for part in (blocks[b].value or source.value).within())), None
    )


def _is_wrapper(frame: Frame) -> bool:
    """A function that was made for another one: by a decorator."""
    return frame.outer is not None and any(given.value.kind == "function" for given in frame.outer.arguments.values())


def _rewritten(event: Event) -> str:
    """What it does to a gradient: forgets it, or ("unknown") puts in its place what is not made of it."""
    value = event.value
    if event.kind == "delete" or (value is not None and value.kind == "constant" and value.constant is None):
        return "clear"
    made = value is None or any(part.method == "grad" for part in value.within())
    return "unknown" if event.kind == "assign" and not made else ""
