"""What a function does to gradients and weights, in execution order, through the helpers that it calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from modellint.core.effort import TooMuchError, limited

from .acts import Acts
from .code import Event, Value
from .contexts import Context, Contexts, Span
from .entrances import Entrances, is_wrapper, sets_mode
from .facts import Act
from .forwards import Forwards
from .kept import Kept
from .lineage import Lineage
from .models import Models
from .relevance import Relevance
from .resolve import Resolver
from .roles import Roles
from .scope import Frame, Source
from .spots import Spot
from .terms import Terms
from .vocabulary import NO_MODELS

SHALLOW = 4  # helpers in which models are looked for
LONGEST = 20_000  # events looked at for one function
# Values looked at for one function: 22 public training repositories needed at most 25,385 (timm's train.py) and mostly
# below 4,000; in a compiler's code, which trains nothing, there is no end to them.
MOST, FEWEST = 40_000, 2_000


class Tracer:
    def __init__(self, resolver: Resolver, models: Models) -> None:
        self.resolver = resolver
        self.roles = Roles(resolver)
        self.contexts = Contexts(resolver)
        self.entrances = Entrances(resolver)
        self.relevance = Relevance(resolver.project)
        lineage = Lineage(resolver)
        self.acts = Acts(resolver, models, lineage)
        self.forwards = Forwards(resolver, models, self.relevance)
        self.kept = Kept(resolver, Terms(lineage))
        self._left = LONGEST
        self._most = MOST  # less where one function after the other comes to no end: such a project trains nothing
        self._entering: set[int] = set()
        self.entered: set[int] = set()  # the functions that traces have come to

    def trace(self, frame: Frame) -> tuple[Act, ...]:
        """The acts; their `loops` are those of the whole way from `frame`, outermost first.

        None of them where the function comes to more than can be followed: a part would look like a fault.
        """
        self._left, self._entering = LONGEST, set()
        self.resolver.allow(self._most)
        acts: tuple[Act, ...] = ()
        try:
            with limited():
                acts = tuple(self._decorated(frame, Spot()))
        except TooMuchError:
            self._left = -1
        followed = self._left >= 0 and not self.resolver.exhausted
        self.resolver.allow(None)
        self.resolver.forget()
        self._most = allowed(self._most, acts if followed else None)
        self.entered |= self._entering if followed else set()
        return acts if followed else ()

    def _run(self, span: Span, spot: Spot) -> Iterator[Act]:
        frame, inside = span.frame, spot.within(span.frame.function)
        opened: list[Context] = []
        for index, event in islice(enumerate(frame.function.events), span.start, span.stop):
            self._left -= 1
            if self._left < 0 or self.resolver.exhausted:
                return
            while opened and opened[-1].block not in frame.function.enclosing(event.block):
                yield from self._leave(opened.pop(), inside)
            if event.kind != "call" or event.value is None:
                yield from self._changed(frame, index, inside)
                continue
            source = Source(event.value, frame, index)
            if not self.relevance.call(event.value, frame.script):
                yield from self._looked_at(source, inside)
            elif (context := self.contexts.of(source)) is not None:
                opened.append(context)
                yield from self._part(context.before, source, inside)
            else:
                yield from self._called(source, inside)
        while opened:
            yield from self._leave(opened.pop(), inside)

    def _changed(self, frame: Frame, index: int, spot: Spot) -> Iterator[Act]:
        """What an assignment or a deletion does."""
        event = frame.function.events[index]
        if event.name.endswith(".grad") and (kind := _rewritten(event)):
            cleared = Value("name", event.name, location=event.location)
            yield spot.mark(Act(kind, cleared), Source(cleared, frame, index))
        elif event.value is not None and (act := self.kept.event(frame, index)) is not None:
            yield spot.mark(act, Source(event.value, frame, index))

    def _leave(self, context: Context, spot: Spot) -> Iterator[Act]:
        yield from self._part(context.after, context.source, spot)

    def _part(self, span: Span | None, source: Source, spot: Spot) -> Iterator[Act]:
        if span is not None and spot.admits(span.frame.function):
            yield from self._run(span, spot.at(source))

    def _looked_at(self, source: Source, spot: Spot) -> Iterator[Act]:
        """What a call does that changes no gradient, weight or mode: a model, or a function in which one is called."""
        if (act := self.forwards.of(source) or self.kept.call(source)) is not None:
            yield spot.mark(act, source)
        elif len(spot.chain) < SHALLOW and source.value.method not in NO_MODELS:
            yield from self._within(self.entrances.first(source, objects=False), source, spot)

    def _called(self, source: Source, spot: Spot) -> Iterator[Act]:
        call, receiver = source.value, source.value.receiver
        roles = self.roles.of(source.of(receiver)) if receiver is not None else set()
        if call.method == "step" and "optimizer" in roles and "scheduler" not in roles and receiver is not None:
            yield from self._stepped(source, receiver, spot)
        elif call.method == "zero_grad" and "optimizer" in roles:  # whatever it clears besides, or by whose help
            yield from self._own(source, roles, spot)
        else:
            entered = self.entrances.any(source)
            if entered is None:
                yield from self._own(source, roles, spot)
            elif sets_mode(entered.function, call):
                yield from self._own(source, roles, spot)
                # an own `train()` may leave parts in evaluation mode
                yield from (act for act in self._within(entered, source, spot) if act.kind == "eval" or act.stills)
            elif self.relevance.function(entered.function, entered.script) or is_wrapper(entered):
                yield from self._within(entered, source, spot)

    def _own(self, source: Source, roles: set[str], spot: Spot) -> Iterator[Act]:
        """What a call does that is not looked into."""
        act = self.acts.of(source, roles)
        if act is not None:
            yield spot.mark(act, source, source.value.argument(0) if act.kind == "step" and act.subjects else None)

    def _stepped(self, source: Source, optimizer: Value, spot: Spot) -> Iterator[Act]:
        """The step of an optimizer: its closure comes first, one of the project's own may clear gradients at the end."""
        for closure in self.entrances.closures(source):
            yield from self._within(closure, source, spot)
        yield spot.mark(self.acts.step(source, optimizer), source, optimizer)
        yield from (a for a in self._within(self.entrances.first(source), source, spot) if a.kind == "clear")

    def _within(self, entered: Frame | None, source: Source, spot: Spot) -> Iterator[Act]:
        """What a function does that is called, unless it is being executed already."""
        if entered is not None and spot.admits(entered.function):
            yield from self._decorated(entered, spot.entered(source, entered.function))

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


def allowed(values: int, acts: Iterable[Act] | None) -> int:
    """How many values may be looked at for the next function, after one that did `acts` or (None) came to no end."""
    if acts is None:
        return max(values // 2, FEWEST)
    return MOST if any(act.kind == "backward" for act in acts) else values


def _rewritten(event: Event) -> str:
    """What it does to a gradient: forgets it, or ("unknown") puts in its place what is not made of it."""
    value = event.value
    if event.kind == "delete" or (value is not None and value.kind == "constant" and value.constant is None):
        return "clear"
    made = value is None or any(part.method == "grad" for part in value.within())
    return "unknown" if event.kind == "assign" and not made else ""
