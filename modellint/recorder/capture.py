"""One real forward and loss, as it is executed, to a torch.fx.Graph and from there to the plain graph of roles."""

from __future__ import annotations

import os
import threading
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import torch
from torch import Tensor
from torch.fx import Graph
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from . import frames, measures, modes
from .assemble import assemble
from .composites import BODIES, may_fuse
from .intercept import after_custom_functions, after_indexing, before_backward, without_compiler
from .ledger import Ledger
from .lower import lower
from .operation import Call, Op, tensors_in, writes
from .owned import owned
from .patches import is_tracing

MOST_ERRORS = 10
Line = Callable[[], Optional[Tuple[str, int]]]


class Capture(TorchFunctionMode):
    """Records from `start()` to `stop()` or the first `backward()`; `finish()` gives what reaches the loss.

    Nothing of the run is kept alive and nothing that it computes is changed; what goes wrong in here is in `errors`.
    """

    def __init__(self, line: Line = frames.user_line) -> None:
        """`line` gives the place of what is being run."""
        super().__init__()
        self._line = line
        self.graph: Optional[Graph] = None  # as recorded, after finish()
        self.errors: List[Exception] = []
        self._ledger = Ledger()
        self._call: Optional[Call] = None
        self._called: Set[int] = set()  # ids of modules
        self._active = False
        self._home = (os.getpid(), threading.get_ident())
        self._undo: List[Callable[[], Any]] = []

    def start(self) -> None:
        self._active = True
        modes.push(self)
        before = hooks.register_module_forward_pre_hook(self._entered)
        after = hooks.register_module_forward_hook(self._left, always_call=True)
        self._undo = [before.remove, after.remove, before_backward(self.stop), after_custom_functions(self._applied)]
        self._undo += [*after_indexing(self._indexed), *without_compiler()]

    def stop(self) -> None:
        self._active = False
        modes.remove(self)
        while self._undo:
            self._undo.pop()()

    def finish(
        self, loss: Tensor, parameter_names: Dict[int, str], model: Optional[torch.nn.Module]
    ) -> Optional[Dict[str, Any]]:
        """The plain graph of what reaches `loss`, JSON-able; None when nothing recorded does."""
        self.stop()
        try:
            found = self._ledger.find(loss)
            self.graph = assemble(found, parameter_names, model) if found is not None else None
            return {**lower(self.graph), "parameters": owned(model, self._called)} if self.graph is not None else None
        except Exception as error:
            self._failed(error)
            return None
        finally:
            self._ledger, self._call = Ledger(), None
            self._called.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._here():
            return func(*args, **kwargs)
        body = BODIES.get(func)
        if body is not None:
            with self:
                return body(*args, **kwargs)
        result = func(*args, **kwargs)
        self._guarded(self._record, func, args, kwargs, result)
        return result

    def _here(self) -> bool:
        """Not in a forked worker, which inherits the mode, not in another thread, which shares the hooks, and not within
        torch.jit.trace, whose own graph would hold what is measured here.
        """
        return self._active and self._home == (os.getpid(), threading.get_ident()) and not is_tracing()

    def _guarded(self, action: Callable[..., None], *args: Any) -> None:
        try:
            with torch._C.DisableTorchFunction():
                action(*args)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if len(self.errors) < MOST_ERRORS:
            error.__context__ = None
            self.errors.append(error.with_traceback(None))  # its frames would keep tensors alive

    def _record(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        made = tuple(tensors_in(result))
        if not made and writes(func):
            made = tuple(tensors_in(args[0]))
        if made and self._active and not self._prepares(args, made):
            encode = self._ledger.encode
            op = Op(func, encode(args, self._call), encode(kwargs, self._call), self._call, self._line())
            self._ledger.add(op, made)
            measures.take(op, args, kwargs, made, self._ledger)

    def _prepares(self, args: Any, made: Any) -> bool:
        """Data on its way to the model: outside of modules, without gradient, from nothing that was recorded."""
        if self._call is not None or any(tensor.requires_grad for _, tensor in made):
            return False
        return not any(self._ledger.made(tensor) for _, tensor in tensors_in(args))

    def _entered(self, module: torch.nn.Module, args: Any) -> None:
        if self._here() and not (self._call and self._call.suspended):
            self._guarded(self._enter, module, args)

    def _left(self, module: torch.nn.Module, _: Any, result: Any) -> None:
        if self._here():
            self._guarded(self._leave, module, result)

    def _enter(self, module: torch.nn.Module, args: Any) -> None:
        if type(module).__name__ == "OptimizedModule":
            self.stop()  # the compiler would trace the recorder too, and cache what it saw
            raise RuntimeError("a compiled model cannot be recorded")
        self._called.add(id(module))
        call = Call(module, self._call, self._line())
        call.inputs = self._ledger.encode(args, self._call)
        if self._call is None:
            self._measure(args)
        self._call = call
        call.suspended = may_fuse(module) and modes.remove(self)

    def _leave(self, module: torch.nn.Module, result: Any) -> None:
        call = next((call for call in self._call or () if call.module() is module), None)
        if call is None:
            return
        self._call = call.parent
        if call.suspended:
            modes.push(self)
        unseen = [(path, each) for path, each in self._unseen(result) if call.suspended or each.grad_fn is not None]
        if unseen:  # fused or scripted: one operation
            weights = self._ledger.encode(tuple(module.parameters()), call)
            self._ledger.add(Op(call.kind, (call.inputs, weights), {}, call, call.line), unseen)

    def _applied(self, kind: Any, args: Any, result: Any) -> None:
        if self._here():
            self._guarded(self._apply, kind, args, result)

    def _indexed(self, function: Any, args: Any, result: Any) -> None:
        if self._here():
            self._guarded(self._record, function, args, {}, result)

    def _apply(self, kind: Any, args: Any, result: Any) -> None:
        unseen = self._unseen(result)
        if unseen:
            inputs = self._ledger.encode(args, self._call)
            self._ledger.add(Op(kind, inputs, {}, self._call, self._line()), unseen)

    def _unseen(self, result: Any) -> List[Any]:
        return [(path, tensor) for path, tensor in tensors_in(result) if self._ledger.find(tensor) is None]

    def _measure(self, args: Any) -> None:
        for _, tensor in tensors_in(args):
            if measures.is_input(tensor):
                self._ledger.ref(tensor).source.measured["std"] = tensor.float().std()
