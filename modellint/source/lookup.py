"""From a place back to the facts of a script that lie there: what a rule needs to say how its finding is fixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modellint.core.diagnostic import Location

from .code import Function, Value
from .facts import Act, Loss, Model, TrainingLoop, made_in
from .facts.subjects import MADE
from .script import Script

if TYPE_CHECKING:
    from modellint.core.rule import Placed


def acts(script: Script, place: Placed) -> Iterator[tuple[TrainingLoop, Act]]:
    """The acts at a place, each with its loop."""
    return ((loop, act) for loop in script.training_loops for act in loop.acts if act.location == place.location)


def trained(script: Script, loss: Loss, call: Value) -> Model | None:
    """The one model of the optimizer in whose loop a call is made, if the loss that is minimised there comes of it."""
    for loop in script.training_loops:
        origins = {id(origin) for act in loop.of("backward") for origin in act.origins}
        if {id(loss.call), id(call)} <= origins:
            return stepped(script, loop)
    return None


def stepped(script: Script, loop: TrainingLoop) -> Model | None:
    """The one model of the optimizers that a loop steps."""
    makers = [made for made in script.trainers if any(map(made.made, loop.steps))]
    models = {model.name: model for made in makers for model in made.models}
    return next(iter(models.values())) if len(models) == 1 else None


def share_function(script: Script, *places: Placed) -> bool:
    """Whether all places lie in the file and in the same function (not in one inside it)."""
    return len({id(function(script, place.location)) for place in places}) == 1 and all(
        place.location.path == script.path for place in places
    )


def made_anew(script: Script, subject: str, loop: Location) -> bool:
    """Whether each pass of a loop makes an object anew: in the loop, or by a method for an attribute, which it calls."""
    methods = {part.rpartition(".")[2] for part in subject.split(">") if part and not MADE.search(part)}
    calls = (call for f in script.functions for call in f.calls) if methods and script.path == loop.path else ()
    return made_in(subject, loop) or any(call.method in methods and holds(loop, call.location) for call in calls)


def made_still(script: Script, model: str) -> bool:
    """Whether a model is bound to what `eval()` gives, be it by a function that is not seen to be called: an `__init__`."""
    bound = (e.value for f in script.functions for e in f.events if e.kind == "assign" and e.name == model)
    return any(value is not None and value.method == "eval" for value in bound)


def function(script: Script, place: Location) -> Function | None:
    """The innermost function around a place; the module's own body where there is none."""
    around = (f for f in script.functions[1:] if f.kind != "class" and holds(f.location, place))
    return max(around, key=lambda f: _start(f.location), default=next(iter(script.functions), None))


def holds(outer: Location, inner: Location) -> bool:
    return _start(outer) <= _start(inner) and _end(inner) <= _end(outer)


def _start(place: Location) -> tuple[int, int]:
    return place.line or 0, place.column or 0


def _end(place: Location) -> tuple[int, int]:
    return place.end_line or place.line or 0, place.end_column or place.column or 0
