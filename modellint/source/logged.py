"""The names under which the LightningModules that a script can reach log their metrics."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Class, Value
from .members import Members
from .project import Project
from .script import Script

WATCHES = frozenset({"EarlyStopping", "ModelCheckpoint"})
LOGS = frozenset({"log", "log_dict"})
LOGGERS = ("self", "pl_module", "module")
LIBRARIES = ("lightning", "pytorch_lightning", "torch", "abc")
LEGACY = frozenset(
    {"validation_end", "training_end", "EvalResult", "TrainResult"}
)  # other ways to log, of old releases
MOST = 60  # files


class Logged:
    def __init__(self, project: Project, members: Members) -> None:
        self.project = project
        self.members = members

    def of(self, script: Script) -> frozenset[str] | None:
        """None where a name cannot be read, or nothing is logged."""
        watches = not WATCHES.isdisjoint(script.called) or "monitor" in script.attributes
        if not watches or not any("lightning" in name for name in script.imports.values()):
            return None  # else all that it imports would be read for nothing
        scripts = list(self._reached(script))
        calls = [call for found in scripts for call in found.calls if _logs(call)]
        names = [_names(call) for call in calls]
        known = [name for name in names if name is not None]
        whole = len(known) == len(names) and all(map(self._is_whole, scripts)) and len(scripts) < MOST
        return frozenset().union(*known) if known and whole else None

    def _reached(self, script: Script) -> Iterator[Script]:
        waiting, seen = [script], set[int]()
        while waiting and len(seen) < MOST:
            found = waiting.pop()
            if id(found) not in seen:
                seen.add(id(found))
                yield found
                located = (self.project.locate(found, name) for name in found.imports.values())
                waiting += [place[0] for place in located if place is not None]

    def _is_whole(self, script: Script) -> bool:
        """Whether all that its LightningModules inherit can be read, and nothing logs in another way."""
        modules = (class_ for class_ in script.classes if _is_module(script, class_))
        strange = any(not name.startswith(LIBRARIES) for class_ in modules for name in self._inherited(script, class_))
        return not strange and script.attributes.isdisjoint(LEGACY)

    def _inherited(self, script: Script, class_: Class) -> Iterator[str]:
        found = {parent.name for _, parent in self.members.bases(script, class_)}
        yield from (base.name for base in class_.bases if base.method not in found)


def _is_module(script: Script, class_: Class) -> bool:
    return any(
        f.owner == class_.name and f.name.endswith((".training_step", ".validation_step")) for f in script.functions
    )


def _logs(call: Value) -> bool:
    return call.method in LOGS and call.receiver is not None and call.receiver.name in LOGGERS


def _names(call: Value) -> frozenset[str] | None:
    """The names that one call logs, with the endings that Lightning gives them."""
    given = call.argument(0, "name" if call.method == "log" else "dictionary")
    if given is None:
        return None
    if call.method == "log":
        written = given.constant
        return frozenset({written}) if isinstance(written, str) else None
    plain = given.kind == "dict" and not given.arguments and all(key != "**" for key, _ in given.keywords)
    return frozenset(key for key, _ in given.keywords) if plain else None
