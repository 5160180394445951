"""The places in torch where a training step can be watched; every change is undone by `remove`."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, List, Tuple

import torch
import torch.nn.functional as F
from torch.nn.modules import module as modules
from torch.nn.utils import clip_grad
from torch.optim import optimizer as optimizers

Around = Callable[..., Any]


class Patches:
    """Sends what torch does to `watcher`. A wrapper that the user bound to a name of his own passes through once removed."""

    def __init__(self, watcher: Any) -> None:
        self.watcher = watcher
        self._replaced: List[Tuple[Any, str, Any, Any]] = []
        self._handles: List[Any] = []

    def apply(self) -> None:
        self._replace(optimizers.Optimizer, "__init__", self._created)
        self._replace(optimizers.Optimizer, "zero_grad", self._cleared)
        self._replace(torch.nn.Module, "zero_grad", self._cleared)
        self._replace(torch.autograd, "backward", self._backward)
        self._handles.append(optimizers.register_optimizer_step_pre_hook(self._step_begins))
        self._handles.append(optimizers.register_optimizer_step_post_hook(self._step_ends))
        self._replace(torch.autograd.graph.saved_tensors_hooks, "__enter__", self._saved_hooks)
        self._replace_clipping()
        self._replace_scalers()
        for name in loss_functions():
            self._replace(F, name, self._loss)

    def watch_modules(self) -> None:
        self._handles.append(modules.register_module_forward_pre_hook(self._entered))
        self._handles.append(modules.register_module_forward_hook(self._left))

    def remove(self) -> None:
        for owner, name, wrapper, original in reversed(self._replaced):
            if inspect.getattr_static(owner, name) is wrapper:
                setattr(owner, name, original)
        for handle in self._handles:
            handle.remove()
        self._replaced, self._handles = [], []

    def _replace(self, owner: Any, name: str, around: Around) -> None:
        original = inspect.getattr_static(owner, name)

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not self._replaced or not self.watcher.here():
                return original(*args, **kwargs)
            return around(original, args, kwargs)

        setattr(owner, name, wrapper)
        self._replaced.append((owner, name, wrapper, original))

    def _replace_clipping(self) -> None:
        for name, kind in (
            ("clip_grad_norm_", "norm"),
            ("clip_grad_value_", "value"),
            ("clip_grads_with_norm_", "norm"),
        ):
            if hasattr(clip_grad, name):
                self._replace(clip_grad, name, functools.partial(self._clip, kind))
                self._replaced.append((torch.nn.utils, name, getattr(clip_grad, name), getattr(torch.nn.utils, name)))
                setattr(torch.nn.utils, name, getattr(clip_grad, name))

    def _replace_scalers(self) -> None:
        kinds = {torch.cuda.amp.GradScaler, getattr(torch.amp, "GradScaler", torch.cuda.amp.GradScaler)}
        methods = (("scale", self._scale), ("unscale_", self._unscale), ("step", self._scaler_step))
        homes = {
            (home, name, around)
            for kind in kinds
            for name, around in methods
            for home in kind.__mro__
            if name in vars(home)
        }
        for home, name, around in homes:
            self._replace(home, name, around)

    def _created(self, original: Around, args: Any, kwargs: Any) -> None:
        original(*args, **kwargs)
        self.watcher.optimizer_created(args[0])

    def _cleared(self, original: Around, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        self.watcher.gradients_cleared(args[0])
        return result

    def _backward(self, original: Around, args: Any, kwargs: Any) -> Any:
        roots = args[0] if args else kwargs.get("tensors")
        gradients = args[1] if len(args) > 1 else kwargs.get("grad_tensors")
        self.watcher.backward_begins([roots] if isinstance(roots, torch.Tensor) else list(roots or ()), gradients)
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            self.watcher.backward_failed(error)
            raise
        self.watcher.backward_ends()
        return result

    def _step_begins(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.watcher.step_begins(optimizer)

    def _step_ends(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.watcher.step_ends(optimizer)

    def _clip(self, kind: str, original: Around, args: Any, kwargs: Any) -> Any:
        bound = inspect.signature(original).bind(*args, **kwargs)
        bound.apply_defaults()
        parameters = bound.arguments["parameters"]
        if not isinstance(parameters, torch.Tensor):
            bound.arguments["parameters"] = parameters = list(parameters)
        limit = bound.arguments["max_norm" if kind == "norm" else "clip_value"]
        listed = [parameters] if isinstance(parameters, torch.Tensor) else parameters
        before = self.watcher.clip_begins(listed)
        result = original(*bound.args, **bound.kwargs)
        self.watcher.clip_ends(kind, limit, listed, bound.arguments.get("total_norm", result), before)
        return result

    def _scale(self, original: Around, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        self.watcher.loss_scaled(args[0], result)
        return result

    def _unscale(self, original: Around, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        self.watcher.gradients_unscaled(args[1] if len(args) > 1 else kwargs["optimizer"])
        return result

    def _scaler_step(self, original: Around, args: Any, kwargs: Any) -> Any:
        optimizer = args[1] if len(args) > 1 else kwargs["optimizer"]
        before = self.watcher.steps_of(optimizer)
        result = original(*args, **kwargs)
        self.watcher.scaler_stepped(optimizer, before)
        return result

    def _saved_hooks(self, original: Around, args: Any, kwargs: Any) -> Any:
        self.watcher.may_read_saved = False  # reading would run the user's unpack hook: checkpoint would recompute
        return original(*args, **kwargs)

    def _loss(self, original: Around, args: Any, kwargs: Any) -> Any:
        depth = self.watcher.loss_begins()
        try:
            result = original(*args, **kwargs)
        finally:
            self.watcher.loss_left()
        if depth == 0:
            self.watcher.loss_ends(original, args, kwargs, result)
        return result

    def _entered(self, module: Any, args: Any) -> None:
        if torch.is_grad_enabled():
            self.watcher.module_entered(module)

    def _left(self, module: Any, args: Any, result: Any) -> None:
        if torch.is_grad_enabled():
            self.watcher.module_left(module, args, result)


def loss_functions() -> List[str]:
    others = ("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div")
    public = [name for name in dir(F) if name.endswith("_loss") and not name.startswith("_")]
    return [name for name in (*others, *public) if inspect.isfunction(getattr(F, name))]
