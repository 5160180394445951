"""A copy of the model with what it was last given: it may be run at will, and nothing of the user's changes."""

from __future__ import annotations

import copy
import random
import sys
import time
from typing import Any, Dict, Iterator, List, Optional

import torch
from torch import Tensor

from . import chance, frames
from .given import Given, changed
from .operation import tensors_in

LARGEST = 1 << 30  # bytes of parameters and buffers that are copied
SECONDS = 4.0  # for all computations on one specimen
FINE, COARSE = 1e-5, 2e-2  # of the largest number: what rounding may do to float32, and to half precision


class CannotExamineError(Exception):
    """Why an examination was not made, in words that follow "unchecked: "."""


class Specimen:
    """The model in evaluation mode; what it computes is a list of floating tensors, in float32, on the host."""

    def __init__(self, given: Given, steady: bool) -> None:
        """`steady`: inputs had one length in several calls."""
        try:
            self.model = copy.deepcopy(given.model, _shared(given.model)).eval()
        except Exception as error:
            raise CannotExamineError("the model cannot be copied (%s)" % _words(error)) from None
        self.args, self.kwargs, self.steady = given.args, given.kwargs, steady
        self._rounding = FINE
        self._until = time.monotonic() + SECONDS
        self._usual: Optional[List[Tensor]] = None

    def inputs(self) -> List[Tensor]:
        """Every tensor that the model is given, in order."""
        return [tensor for _, tensor in tensors_in((self.args, self.kwargs))]

    def usual(self) -> List[Tensor]:
        """What it computes of the recorded inputs."""
        if self._usual is None:
            self._usual = self.run({})
        return self._usual

    def run(self, replaced: Dict[int, Tensor], seed: int = 0) -> List[Tensor]:
        """What it computes when some inputs, by their ids, are replaced; raises CannotExamineError."""
        if time.monotonic() > self._until:
            raise CannotExamineError("it would take more than %g seconds" % SECONDS)
        with torch.no_grad():
            results = [found.detach() for found in self.compute(replaced, seed)]
        if any(found.dtype in (torch.float16, torch.bfloat16) for found in (*results, *self.model.parameters())):
            self._rounding = COARSE
        return [found.float().cpu() for found in results]

    def compute(self, replaced: Dict[int, Tensor], seed: int = 0) -> List[Tensor]:
        """The same where it lies, in its own type, and with its graph where gradients are enabled."""

        def fresh(tensor: Tensor) -> Tensor:
            return replaced.get(id(tensor), tensor).clone()

        chance.seed(seed)
        try:
            result = self.model(*changed(self.args, fresh), **changed(self.kwargs, fresh))
        except Exception as error:
            raise CannotExamineError("the model cannot be run again (%s)" % _words(error)) from None
        return [found for _, found in tensors_in(result) if found.is_floating_point()]

    def change(self, before: Tensor, after: Tensor) -> Tensor:
        """Each element's change, in units of the largest element; below the rounding of its type it is zero."""
        if before.shape != after.shape:
            raise CannotExamineError("the shape of the result depends on the values of the input")
        if not bool(before.isfinite().all()):
            raise CannotExamineError("the results are not finite")
        if not before.numel():
            return before
        relative = (after - before).abs() / before.abs().max().clamp_min(1e-30)
        return torch.where(relative > self._rounding, relative, torch.zeros_like(relative))


def _words(error: Exception) -> str:
    return ("%s: %s" % (type(error).__name__, error)).split("\n")[0][:200]


def may_be_copied(model: torch.nn.Module, goes_on: bool) -> None:
    """Raises CannotExamineError; `goes_on`: the user's run does, no hook may run again and no draw be another."""
    held = [*model.parameters(), *model.buffers()]
    if sum(tensor.numel() * tensor.element_size() for tensor in held) > LARGEST:
        raise CannotExamineError("the model is too large to be copied")
    if any(type(tensor) not in (Tensor, torch.nn.Parameter) for tensor in held):
        raise CannotExamineError("the model's parameters are spread over processes or of another kind")
    if goes_on and any(_hooks(module) for module in model.modules()):
        raise CannotExamineError("the model has hooks, which would run once more")
    if goes_on and any(_draws_in_cudnn(module) for module in model.modules()):
        raise CannotExamineError("the dropout of cuDNN's recurrent layers would be drawn anew")


def _draws_in_cudnn(module: torch.nn.Module) -> bool:
    """cuDNN begins its own sequence of dropouts anew whenever the state of the GPU's generator is set, even to what it was."""
    recurrent = isinstance(module, torch.nn.RNNBase) and module.dropout > 0
    return recurrent and any(parameter.is_cuda for parameter in module.parameters(recurse=False))


def _hooks(module: torch.nn.Module) -> List[Any]:
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return [hook for hook in hooks if not type(hook).__module__.startswith("torch.")]  # spectral and weight norm


def _shared(model: torch.nn.Module) -> Dict[int, Any]:
    """The memo of the copy: tensors with a past become plain ones, and what belongs to a framework is not copied."""
    memo: Dict[int, Any] = {}
    for value in _attributes(vars(part) for part in model.modules()):
        if isinstance(value, Tensor) and value.grad_fn is not None:
            memo[id(value)] = value.detach().clone()
        elif isinstance(value, torch.Generator):
            memo[id(value)] = torch.Generator(value.device).set_state(value.get_state())
        elif not isinstance(value, (Tensor, torch.nn.Module, random.Random)) and _is_installed(type(value)):
            memo[id(value)] = value
    return memo


def _attributes(values: Any, depth: int = 4) -> Iterator[Any]:
    """The attributes of modules, and what their containers hold."""
    for value in values:
        if isinstance(value, (dict, list, tuple, set)):
            yield from _attributes(value.values() if isinstance(value, dict) else value, depth - 1) if depth else ()
        else:
            yield value


def _is_installed(kind: type) -> bool:
    """Whether a class is neither built in, nor of torch or numpy, nor of the user."""
    package = kind.__module__.partition(".")[0]
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return package not in ("torch", "numpy") and path is not None and frames.user_path(path) is None
