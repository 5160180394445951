"""Which modules own the watched parameters: names, owners and places in the user's source."""

from __future__ import annotations

import gc
import inspect
import weakref
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple, cast

import torch
from torch import Tensor

from . import frames

_WRAPPERS = ("DistributedDataParallel", "DataParallel", "OptimizedModule")


class Parameters:
    """Gives every parameter a number for the length of the run and holds it weakly."""

    def __init__(self) -> None:
        self._numbers: Dict[int, int] = {}
        self._held: List[Any] = []
        self.zero: Dict[int, bool] = {}

    def number(self, parameter: Tensor) -> int:
        known = self._numbers.get(id(parameter))
        if known is not None and self._held[known]() is parameter:
            return known
        self._numbers[id(parameter)] = len(self._held)
        self._held.append(weakref.ref(parameter))
        return len(self._held) - 1

    def renew(self, old: Tensor, new: Tensor) -> None:
        """`new` is what `old` has become."""
        number = self.number(old)
        self._numbers[id(new)], self._held[number] = number, weakref.ref(new)

    def alive(self) -> Iterable[Tuple[int, Tensor]]:
        return ((number, held()) for number, held in enumerate(self._held) if held() is not None)


class Models:
    """The outermost called modules that own parameters of an optimizer."""

    def __init__(self) -> None:
        self._seen: Dict[int, Any] = {}
        self._called: List[Any] = []

    def note(self, module: torch.nn.Module, owned: Any) -> bool:
        """Remembers `module` if it owns some of the parameters whose ids are `owned`; True for the first that does."""
        known = self._seen.get(id(module))
        if known is not None and known() is module:
            return False
        self._seen[id(module)] = weakref.ref(module)
        if not any(id(parameter) in owned for parameter in module.parameters()):
            return False
        self._called.append(weakref.ref(module))
        return len(self._called) == 1

    def owns(self, module: torch.nn.Module) -> bool:
        """Whether note() has found parameters of an optimizer in `module`."""
        return any(held() is module for held in self._called)

    def forget(self) -> None:
        """A new optimizer may own parameters of modules that owned none before."""
        self._seen.clear()
        self._called.clear()

    def owner(self, parameters: Sequence[Tensor]) -> Optional[torch.nn.Module]:
        """The module that was called first of those that own most of `parameters`; any module when that lacks some."""
        wanted = {id(parameter) for parameter in parameters}
        called = [module for module in (held() for held in self._called) if module is not None]
        best = max(called, key=lambda module: len(wanted & _ids(module)), default=None)
        if best is None or not wanted <= _ids(best):
            known = [*([best] if best is not None else []), *living()]
            best = max(known, key=lambda module: (len(wanted & _ids(module)), -len(_ids(module))), default=None)
        return unwrapped(best) if best is not None and wanted & _ids(best) else None


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    while type(module).__name__ in _WRAPPERS:
        module = next(module.children())
    return module


def _ids(module: torch.nn.Module) -> Set[int]:
    return {id(parameter) for parameter in module.parameters()}


def living() -> List[torch.nn.Module]:
    """Every module there is: for models that are only used through methods of their own and never called."""
    return [found for found in gc.get_objects() if issubclass(type(found), torch.nn.Module)]


def describe(
    number: int, name: str, model: Optional[torch.nn.Module], parameter: Tensor, prefix: str = ""
) -> Dict[str, Any]:
    """The fields of a Parameter that the module tree tells."""
    path = name.rpartition(".")[0]
    owner = part(model, path) if model is not None else None
    return {
        "number": number,
        "name": prefix + name,
        "shape": list(parameter.shape),
        "module": prefix + path if path else prefix.rstrip("."),
        "module_class": type(owner).__name__ if owner is not None else "",
        "requires_grad": parameter.requires_grad,
        "location": {**class_place(model, path), "module": prefix + path} if model is not None else {},
    }


def part(model: torch.nn.Module, path: str) -> torch.nn.Module:
    """The module at a path, of scripted models too, which have no `get_submodule`; a name that the class has for something
    else, such as `parameters`, hides none.
    """
    found = model
    for name in filter(None, path.split(".")):
        found = cast(torch.nn.Module, found._modules[name])
    return found


def class_place(model: torch.nn.Module, path: str) -> Dict[str, Any]:
    """Where the class of the module at `path`, or of the nearest module around it that the user wrote, begins."""
    while True:
        kind = type(part(model, path))
        place = _class_place(kind)
        if place or not path:
            return place
        path = path.rpartition(".")[0]


_places: Dict[type, Dict[str, Any]] = {}


def _class_place(kind: type) -> Dict[str, Any]:
    if kind not in _places:
        _places[kind] = _find_class(kind)
    return _places[kind]


def _find_class(kind: type) -> Dict[str, Any]:
    try:
        path = inspect.getsourcefile(kind)
        if path is None or frames.user_path(path) is None:
            return {}
        return {"path": frames.shown(path), "line": inspect.getsourcelines(kind)[1]}
    except (OSError, TypeError):
        return {}
