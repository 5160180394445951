"""Which calls and functions may change gradients, weights or modes: only these are worth following."""

from __future__ import annotations

import re
from functools import cache

from modellint.core.pattern import pattern

from .code import Event, Function, Value
from .project import Project
from .reach import Reach
from .script import Script
from .vocabulary import CLIPS, sounds_like_optimizer

CHANGING = pattern(
    r"zero_grad|zero_|step|optimizer_step|backward|manual_backward|unscale_|\w*clip\w*grad\w*|eval|train|apply"
)
# A helper of such a name that cannot be found may clear gradients.
CLIP_NAMES = {name.rpartition(".")[2] for name in CLIPS}
CLEARING = pattern(r"\w*(zero|reset|clear)\w*", re.IGNORECASE)


@cache
def _may_change(name: str) -> bool:
    return CHANGING.fullmatch(name) is not None or CLEARING.fullmatch(name) is not None


class Relevance:
    def __init__(self, project: Project) -> None:
        self.project = project
        self.reach = Reach(project)
        self._clips: dict[int, frozenset[str]] = {}

    def call(self, call: Value, script: Script) -> bool:
        name = call.method
        if _may_change(name) or name in self.reach.names(script, "change"):
            return True
        if any(a.kind == "name" and sounds_like_optimizer(a.name) for a in call.arguments):
            return True
        if name in self._clips_of(script):
            return True
        imported = self.project.imported(script, call.name) and self.project.locate(script, call.name) is not None
        return imported and name in self.reach.names(script, "change")

    def _clips_of(self, script: Script) -> frozenset[str]:
        """The names by which a script calls torch's clip besides its own: an alias, or a `partial` of it."""
        known = self._clips.get(id(script))
        if known is None:
            events = (e for f in script.functions for e in f.events) if CLIP_NAMES & script.attributes else ()
            known = self._clips[id(script)] = frozenset(e.name.rpartition(".")[2] for e in events if _names_clip(e))
        return known

    def function(self, function: Function, script: Script) -> bool:
        changes = any(self.call(call, script) for call in function.calls)
        return (
            changes
            or any(event.name.endswith(".grad") for event in function.events)
            or self.evaluates(function, script)
        )

    def evaluates(self, function: Function, script: Script) -> bool:
        return self.reach.comes_to(function, script, "evaluation")

    def runs(self, function: Function, script: Script) -> bool:
        """Whether it may train or evaluate a model."""
        return self.evaluates(function, script) or self.trains(function, script)

    def trains(self, function: Function, script: Script) -> bool:
        """Whether it may both make gradients and step an optimizer."""
        if not self.reach.comes_to(function, script, "backward"):
            return False
        if not self.reach.comes_to(function, script, "step"):
            self.project.load_imports(script)  # an optimizer of the project's own may be among them
        return self.reach.comes_to(function, script, "step")


def _names_clip(event: Event) -> bool:
    value = event.value if event.kind == "assign" else None
    if value is not None and value.kind == "call" and value.method == "partial" and value.arguments:
        value = value.arguments[0]
    return value is not None and value.kind == "name" and value.name in CLIPS
