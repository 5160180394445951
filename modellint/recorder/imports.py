"""Calls a function right after the user's own import of a package has finished; imports nothing by itself."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Callable, Dict

_waiting: Dict[str, Callable[[], None]] = {}


class _Finder:
    """Finds the awaited packages as everyone else does and lets their own loader report when it is done."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _waiting:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            _report(spec)
        return spec


def after(name: str, act: Callable[[], None]) -> None:
    """`act` is called after `import name`; an exception in it is shown on stderr and never reaches the import."""
    _waiting[name] = act
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]


def _report(spec: ModuleSpec) -> None:
    """Only the loader's instance is changed: its class, which `inspect` and `importlib.resources` ask for, stays."""
    loader: Any = spec.loader
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module
        execute(module)
        act = _waiting.pop(spec.name, None)
        if act is not None:
            _guarded(act)

    loader.exec_module = exec_module


def _guarded(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception:
        import traceback

        sys.stderr.write("modellint: the recorder could not start\n" + traceback.format_exc())
