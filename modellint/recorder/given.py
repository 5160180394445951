"""What the model was last called with and the labels of its loss, copied while watched steps are made."""

from __future__ import annotations

import weakref
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from .operation import tensors_in
from .patches import Patches, Watch, guarded
from .tensors import is_plain, quiet

LARGEST = 1 << 28  # bytes of one input that is copied


class Given(NamedTuple):
    """One call of the model."""

    model: torch.nn.Module
    args: Tuple[Any, ...]
    kwargs: Dict[str, Any]


class GivenWatch(Watch):
    """Idle until `arm`; the model and what it was given are held until `take`."""

    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._patches = Patches()  # of its own: they are gone while the rest of the run is still watched
        self._model: Any = None
        self._given: Optional[Given] = None
        self._lengths: List[int] = []
        self.labels: Optional[Tensor] = None  # of every row of the class loss, -1 where it is ignored

    def arm(self) -> None:
        """From now on calls of the first optimizer's model are copied."""
        model = self.recorder.roster.names(self.recorder.tracks)[0] if self._model is None else None
        if model is not None:
            self._model = weakref.ref(model)
            self._patches.around(torch.nn.Module, "__call__", self._around)

    def take(self) -> Optional[Given]:
        """The last call; nothing more is copied."""
        given, self._given = self._given, None
        self._patches.remove()
        return given

    @property
    def steady(self) -> bool:
        """Whether the first axis of what the model is given was seen several times and is as long in the last two."""
        return len(self._lengths) > 1 and len(set(self._lengths[-2:])) == 1

    def note_labels(self, call: Any) -> None:
        if self._model is not None and call is not None and call.rows is not None:
            self.labels = call.rows.every_label()

    def _around(self, original: Any, args: Any, kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            self._times(*args, kwargs=kwargs)
            if args[0] is self._model():
                self._keep(*args, kwargs=kwargs)
        return original(*args, **kwargs)

    @guarded
    def _times(self, module: torch.nn.Module, *args: Any, kwargs: Any) -> None:
        self.recorder.times.note(module, args, kwargs)

    @guarded
    def _keep(self, model: torch.nn.Module, *args: Any, kwargs: Any) -> None:
        with quiet():
            self._given = Given(model, changed(args, _copied), changed(kwargs, _copied))
            self._lengths += [len(tensor) for _, tensor in tensors_in((args, kwargs)) if tensor.dim()][:1]


def changed(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """`value` with every tensor in it replaced; containers keep their kind, what is unknown is shared."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        parts = [changed(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {key: changed(part, change) for key, part in value.items()}
    if isinstance(getattr(value, "data", None), dict):  # a BatchEncoding
        return changed(value.data, change)
    return value


def _copied(tensor: Tensor) -> Tensor:
    if not is_plain(tensor) or tensor.numel() * tensor.element_size() > LARGEST:
        raise ValueError("an input cannot be copied")
    return tensor.detach().clone()
