"""Loops within a pass whose passes each add the gradients of a part of the batch to those that one step takes."""

from __future__ import annotations

import re

from modellint.core.pattern import pattern

from . import lookup, tensors
from .facts import Act
from .script import Script

NAMED = pattern(r"accum|micro|grad_acc", re.IGNORECASE)


def gathers(script: Script, act: Act, step: Act) -> bool:
    """Whether an act lies in such a loop, by its name or that of its counter, and the step behind it."""
    inner = len(act.loops) > len(step.loops) and act.loops[: len(step.loops)] == step.loops
    function = lookup.function(script, act.location) if inner and act.location.path == script.path else None
    at = tensors.place(function, act.call) if function is not None else None
    if function is None or at is None:
        return False
    around = function.enclosing(function.events[at].block)
    over = next((block.value for block in (function.blocks[i] for i in around) if block.is_loop), None)
    counters = (e.name for e in function.events if e.kind == "assign" and e.value and over and e.value.base is over)
    return over is not None and any(NAMED.search(name) for name in (str(over), *counters))
