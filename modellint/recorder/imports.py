"""Calls a function right after the user's own import of a package has finished; imports nothing by itself."""

from __future__ import annotations

import sys

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
        found = (finder.find_spec(name, path, target) for finder in list(sys.meta_path) if finder is not _Finder)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            _report(spec)
        return spec


def after(name: str, act: Callable[[], None]) -> None:
    """`act` is called after `import name`; an exception in it is shown on stderr and never reaches the import."""
    _waiting.setdefault(name, []).append(act)
    come_first()


def come_first() -> None:
    """Finders that others have put in front since would be asked first, and we never."""
    sys.meta_path[:] = [_Finder, *(finder for finder in sys.meta_path if finder is not _Finder)]


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
