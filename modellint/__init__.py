"""modellint: suspect by reading, convict by measuring, prove by re-running.

Names are loaded when they are first used: importing modellint imports neither torch nor libcst.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.diagnostic import Diagnostic, Evidence, Fix, Location, Passed, Report, Severity, Verdict
    from .core.errors import UsageError
    from .core.rule import GraphRule, Rule, RuntimeRule, SourceRule
    from .graph.graph import Graph
    from .inprocess import Target, probe
    from .measure.run import Run
    from .measure.step import Step
    from .recording import watch
    from .source.script import Script

__version__ = "0.1.0"

_HOMES = {
    "core.diagnostic": ("Diagnostic", "Evidence", "Fix", "Location", "Passed", "Report", "Severity", "Verdict"),
    "core.errors": ("UsageError",),
    "core.rule": ("GraphRule", "Rule", "RuntimeRule", "SourceRule"),
    "graph.graph": ("Graph",),
    "inprocess": ("Target", "probe"),
    "measure.run": ("Run",),
    "measure.step": ("Step",),
    "recording": ("watch",),
    "source.script": ("Script",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Diagnostic",
    "Evidence",
    "Fix",
    "Graph",
    "GraphRule",
    "Location",
    "Passed",
    "Report",
    "Rule",
    "Run",
    "RuntimeRule",
    "Script",
    "Severity",
    "SourceRule",
    "Step",
    "Target",
    "UsageError",
    "Verdict",
    "probe",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modellint' has no attribute {name!r}")
    globals()[name] = found = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
