"""Acts to training loops: each loop that steps an optimizer, with all that happens in one pass of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from modellint.core.diagnostic import Location

from .code import Block
from .facts import Act, TrainingLoop
from .project import Project
from .resolve import Resolver
from .trace import Tracer


def training_loops(resolver: Resolver) -> Iterator[TrainingLoop]:
    """The loops of all scripts, each once, entered from where their functions are called."""
    tracer = Tracer(resolver)
    seen: set[tuple[str | None, int | None]] = set()
    for script in resolver.project.scripts:
        for function in script.functions:
            if function.kind not in ("function", "module") or not tracer.relevance.trains(function, script):
                continue
            frame = resolver.frame(script, function)
            if function.kind == "function" and next(resolver.callers.of(frame), None) is not None:
                continue
            for loop in _loops(list(tracer.trace(frame)), resolver.project, function.name, function.location):
                if (loop.location.path, loop.location.line) not in seen:
                    seen.add((loop.location.path, loop.location.line))
                    yield loop


def _loops(acts: list[Act], project: Project, function: str, location: Location) -> Iterator[TrainingLoop]:
    innermost = dict.fromkeys(act.loops for act in acts if act.kind == "step")
    for loops in innermost:
        inside = tuple(replace(act, loops=act.loops[len(loops) :]) for act in acts if act.loops[: len(loops)] == loops)
        if loops:
            blocks = [_block(loop, project) for loop in loops]
            yield TrainingLoop(
                inside,
                _function(loops[-1]),
                outer=tuple(act for act in acts if act.loops[: len(loops)] != loops and act.loops[:1] == loops[:1]),
                ahead=tuple(_ahead(acts, loops)),
                over=tuple(block.value for block in blocks),
                location=blocks[-1].location,
                around=len(loops) - 1,
            )
        else:
            yield TrainingLoop(inside, function, whole=False, location=location)


def _ahead(acts: list[Act], loops: tuple[str, ...]) -> Iterator[Act]:
    """What the loops around the innermost one do before it, without that of other loops within them."""
    for act in acts:
        if act.loops[: len(loops)] == loops:
            return
        if act.loops and act.loops == loops[: len(act.loops)]:
            yield act


def _function(loop: str) -> str:
    return loop.split("|")[2]


def _block(loop: str, project: Project) -> Block:
    _, path, name, block = loop.split("|")
    script = next(script for script in project.scripts if script.path == path)
    function = project.function(script, name)
    return function.blocks[int(block)] if function else Block("for", -1, None, location=Location(path))
