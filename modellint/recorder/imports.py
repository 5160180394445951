"""Calls a function right after the user's own import of a package has finished; imports nothing by itself."""

from __future__ import annotations

import sys
from _frozen_importlib_external import PathFinder  # what importlib.machinery exports, without importing that

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable, Dict, List

_waiting: Dict[str, List[Callable[[], None]]] = {}


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
    _waiting.setdefault(name, []).append(act)
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def _report(spec: Any) -> None:
    """Only the loader's instance is changed: its class, which `inspect` and `importlib.resources` ask for, stays."""
    execute = spec.loader.exec_module

    def exec_module(module: ModuleType) -> None:
        del spec.loader.exec_module
        execute(module)
        for act in _waiting.pop(spec.name, ()):
            _guarded(act)

    spec.loader.exec_module = exec_module


def _guarded(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception:
        import traceback

        sys.stderr.write("modellint: the recorder could not start\n" + traceback.format_exc())
