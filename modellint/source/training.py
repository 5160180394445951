"""Acts to training loops: each loop that steps an optimizer, with all that happens in one pass of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass, replace

from .code import Function
from .facts import Act, TrainingLoop
from .place import block_of, function_of
from .project import Project, module_name
from .relevance import Relevance
from .script import Script
from .trace import Tracer

MODES = ("eval", "train", "mode", "model")


@dataclass(frozen=True, slots=True)
class Trace:
    """All that a function does that nothing calls, as far as is known: a script's own body, an entry point."""

    function: str
    acts: tuple[Act, ...]
    location: Location
    trains: bool = True  # False: it comes to evaluations only
    repeated: bool = False  # an engine calls it for every batch


def trained(relevance: Relevance) -> Mapping[str, str]:
    """The functions and classes of the scripts that train what they are given, each with the name of its module."""
    functions = ((s, f) for s in relevance.project.given for f in s.functions if f.kind == "function" and f.parameters)
    training = ((script, function) for script, function in functions if relevance.trains(function, script))
    return {(f.owner or f.name).rpartition(".")[2]: module_name(script.path) for script, f in training}


def traces(tracer: Tracer) -> Iterator[Trace]:
    """Of the functions that come to a training step or an evaluation, and that no other trace comes to."""
    resolver = tracer.resolver
    methods: list[tuple[Script, Function]] = []  # a base class may call them: last, when all others are known
    called: list[tuple[Script, Function]] = []  # by one whose own caller is not known
    for script in (*resolver.project.given, *resolver.project.callers):
        updates = set(_updates(script))
        for function in script.functions:
            if function.kind in ("function", "module") and tracer.relevance.runs(function, script):
                frame = resolver.frame(script, function)
                if function.kind == "module" or next(resolver.callers.of(frame), None) is None:
                    repeated = function.name.rpartition(".")[2] in updates
                    if function.owner is not None and not repeated:
                        methods.append((script, function))
                    else:
                        yield _trace(tracer, script, function, repeated=repeated)
                else:
                    called.append((script, function))
    yield from (_trace(tracer, *method) for method in (*methods, *called) if id(method[1]) not in tracer.entered)


def _trace(tracer: Tracer, script: Script, function: Function, *, repeated: bool = False) -> Trace:
    acts = tracer.trace(tracer.resolver.frame(script, function))
    return Trace(function.name, acts, function.location, tracer.relevance.trains(function, script), repeated)


def _updates(script: Script) -> Iterator[str]:
    """The functions that ignite's engines of the file call for every batch."""
    if any(full.partition(".")[0] == "ignite" for full in script.imports.values()):
        engines = (call for call in script.calls if call.method == "Engine" and call.arguments)
        yield from (call.arguments[0].method for call in engines)


def training_loops(traced: Iterable[Trace], project: Project) -> Iterator[TrainingLoop]:
    """The loops of all scripts, each once, entered from where their functions are called."""
    seen: set[tuple[str | None, int | None]] = set()
    for trace in (trace for trace in traced if trace.trains):
        for loop in _loops(trace, project):
            if (loop.location.path, loop.location.line) not in seen:
                seen.add((loop.location.path, loop.location.line))
                yield loop


def _loops(trace: Trace, project: Project) -> Iterator[TrainingLoop]:
    outermost = _outermost(trace.acts)
    innermost = dict.fromkeys(act.loops for act in trace.acts if act.kind == "step")
    for loops in innermost:
        acts = outermost[loops[:1]] if loops else trace.acts
        inside = tuple(replace(act, loops=act.loops[len(loops) :]) for act in acts if act.loops[: len(loops)] == loops)
        if loops:
            blocks = [block_of(loop, project) for loop in loops]
            yield TrainingLoop(
                inside,
                function_of(loops[-1]),
                outer=tuple(act for act in acts if act.loops[: len(loops)] != loops),
                ahead=tuple(_ahead(acts, loops)),
                over=tuple(block.value for block in blocks),
                location=blocks[-1].location,
                around=len(loops) - 1,
                nest=loops,
                places=tuple(block.location for block in blocks),
                modes=tuple(_modes(trace.acts, loops)),
            )
        else:
            yield TrainingLoop(inside, trace.function, whole=trace.repeated, location=trace.location)


def _modes(acts: Sequence[Act], loops: tuple[str, ...]) -> Iterator[Act]:
    """What sets modes before the innermost loop, in the loops around it and ahead of them all, and what is called there."""
    for act in acts:
        if act.loops[: len(loops)] == loops:
            return
        if act.kind in MODES and (act.kind != "model" or act.loops == loops[: len(act.loops)]):
            yield act


def _outermost(acts: Iterable[Act]) -> Mapping[tuple[str, ...], Sequence[Act]]:
    """The acts of each outermost loop, in order."""
    found: dict[tuple[str, ...], list[Act]] = defaultdict(list)
    for act in acts:
        found[act.loops[:1]].append(act)
    return found


def _ahead(acts: Sequence[Act], loops: tuple[str, ...]) -> Iterator[Act]:
    """What the loops around the innermost one do before it, without that of other loops within them."""
    for act in acts:
        if act.loops[: len(loops)] == loops:
            return
        if act.loops and act.loops == loops[: len(act.loops)]:
            yield act
