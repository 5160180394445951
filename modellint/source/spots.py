"""Where in the execution something is done: the branchings, loops and functions around it, and whether autograd is on."""

from __future__ import annotations

from modellint.core.record import dataclass, replace

from . import gradient
from .branches import Branches, arms, passed
from .code import Function, Value
from .facts import Act
from .place import loop_id, loops
from .scope import Source

DEEPEST = 10  # helpers within helpers


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    branches: Branches = ()
    loops: tuple[str, ...] = ()
    chain: tuple[int, ...] = ()  # the functions that are being executed
    recorded: bool | None = True

    def admits(self, function: Function) -> bool:
        """Whether a function may be followed that is called here: it is not being executed already."""
        return id(function) not in self.chain and len(self.chain) < DEEPEST

    def within(self, function: Function) -> Spot:
        return replace(self, chain=(*self.chain, id(function)))

    def at(self, source: Source, subject: Value | None = None) -> Spot:
        """With the branchings and loops of its own function that are around a value; not a loop through `subject`s."""
        function, at = source.frame.function, source.at or 0
        block = function.events[at].block
        return replace(
            self,
            branches=self.branches + arms(function, block) + passed(function, at),
            loops=self.loops + loops(source.frame, block, subject),
            recorded=gradient.within(self.recorded, gradient.recorded(function, block)),
        )

    def entered(self, call: Source, function: Function) -> Spot:
        """Of a function where it is called; a generator goes on in each pass of the loop over what it gives."""
        around = self.at(call)
        over = _looped_over(call) if any(event.kind == "yield" for event in function.events) else None
        return around if over is None else replace(around, loops=(*around.loops, loop_id(call.frame, over)))

    def mark(self, act: Act, source: Source, subject: Value | None = None) -> Act:
        """The act with the place where it happens."""
        here = self.at(source, subject)
        recorded = gradient.within(here.recorded, act.recorded)
        return replace(act, branches=here.branches, loops=here.loops, recorded=recorded)


def _looped_over(call: Source) -> int | None:
    """The loop that goes over what a call gives."""
    loops = ((b, block.value) for b, block in enumerate(call.frame.function.blocks) if block.kind == "for")
    return next((b for b, over in loops if over and any(part is call.value for part in over.within())), None)
