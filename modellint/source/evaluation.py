"""Acts to evaluations: each loop that calls a model and trains nothing, with the mode in which the model is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modellint.core.diagnostic import Location
from modellint.core.record import replace

from . import gradient
from .facts import Act, Evaluation
from .place import block_of, function_of
from .project import Project
from .training import Trace

TRAINING = ("backward", "step")


class Evaluations:
    def __init__(self, project: Project) -> None:
        self.project = project

    def of(self, traced: Iterable[Trace]) -> list[Evaluation]:
        """Each call once, with all that is known of the ways that lead to it."""
        found: dict[Location, Evaluation] = {}
        trained: set[Location] = set()
        for trace in traced:
            handled = any(gradient.handled(s) for s in self.project.scripts if s.path == trace.location.path)
            for at, act in enumerate(trace.acts):
                if act.kind == "model" and act.loops:
                    if _trains(trace.acts, at):
                        trained.add(act.location)
                    else:
                        found[act.location] = self._joined(found.get(act.location), trace, at, handled)
        return [evaluation for place, evaluation in found.items() if place not in trained]

    def _joined(self, known: Evaluation | None, trace: Trace, at: int, handled: bool) -> Evaluation:
        act = trace.acts[at]
        if known is None:
            block = block_of(act.loops[-1], self.project)
            function = function_of(act.loops[-1])
            parts = act.modal, act.parameters
            known = Evaluation(act.call, function, *parts, used=act.kept, over=block.value, loop=block.location)
        return replace(
            known,
            modal=known.modal if known.modal == act.modal else None,
            modes=(*known.modes, _mode(trace.acts, at)),
            recorded=(*known.recorded, act.recorded if act.recorded is False or not handled else None),
            whole=known.whole and not trace.function,
        )


def _trains(acts: Sequence[Act], at: int) -> bool:
    """Whether the loop around a model's call trains anything, or what it computes is used in a loss after the loop."""
    act = acts[at]
    inside = [a for a in acts if a.loops[: len(act.loops)] == act.loops]
    later = (a for a in acts[at:] if a.kind == "backward")
    return any(a.kind in TRAINING for a in inside) or any(_uses(a, act, inside) for a in later)


def _uses(backward: Act, act: Act, inside: Iterable[Act]) -> bool:
    if not backward.origins:
        return act.loops[: len(backward.loops)] == backward.loops
    calls = [a.call for a in inside if a.kind == "model"]
    return any(origin is call for origin in backward.origins for call in calls)


def _mode(acts: Sequence[Act], at: int) -> str:
    """The mode that was set last before the call: "" where none was, "mode" where it depends, "asked" for no training."""
    act, trained = acts[at], False
    for before in reversed(acts[:at]):
        trained = trained or before.kind in TRAINING
        if before.kind in ("eval", "train", "mode") and before.concerns(act) and not before.excludes(act):
            return before.kind if trained or before.kind != "train" else "asked"
    return ""
