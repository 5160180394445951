"""One real forward and loss, as executed, to a torch.fx.Graph and from there to the plain graph of roles."""

import os
import sys
import threading
import types
import weakref

import torch
from torch.nn import functional
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from . import assemble, frames, lower, modes
from .ledger import Ledger, Op, tensors_in, writes

# With a function mode active these modules leave their fused path in eval mode: there they are recorded from outside.
_FUSED = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer, torch.nn.TransformerEncoder)


class Call:
    """One call of a module; `parent` is the call that it was made in."""

    __slots__ = ("inputs", "kind", "line", "module", "parent", "suspended")

    def __init__(self, module, parent, line):
        self.module, self.kind, self.parent, self.line = weakref.ref(module), type(module), parent, line
        self.inputs, self.suspended = (), False

    def __iter__(self):
        call = self
        while call is not None:
            yield call
            call = call.parent


class Capture(TorchFunctionMode):
    """Records from `start()` to `stop()`; `finish()` gives what reaches the loss. Tensors are held weakly throughout."""

    def __init__(self):
        super().__init__()
        self.graph = None  # the torch.fx.Graph, after finish()
        self.errors = []
        self._ledger, self._call, self._active = Ledger(), None, False
        self._home = (os.getpid(), threading.get_ident())
        self._undo = []

    def start(self):
        self._active = True
        modes.push(self)
        before = hooks.register_module_forward_pre_hook(self._enter)
        after = hooks.register_module_forward_hook(self._leave, always_call=True)
        self._undo = [before.remove, after.remove, *_intercept_backward(self)]

    def stop(self):
        self._active = False
        modes.remove(self)
        while self._undo:
            self._undo.pop()()

    def finish(self, loss, parameter_names, model):
        """The plain graph of what reaches `loss`, JSON-able; None when nothing was recorded that reaches it."""
        self.stop()
        try:
            found = self._ledger.find(loss)
            if found is None:
                return None
            self.graph = assemble.assemble(found, parameter_names, model)
            return lower.lower(self.graph)
        except Exception as error:
            self.errors.append(error)
            return None
        finally:
            self._ledger, self._call = Ledger(), None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not self._here():
            return func(*args, **kwargs)
        body = _bodies.get(func)
        if body is not None:
            with self:
                return body(*args, **kwargs)
        result = func(*args, **kwargs)
        if self._active:
            self._guarded(self._record, func, args, kwargs, result)
        return result

    def _here(self):
        return self._active and self._home == (os.getpid(), threading.get_ident())

    def _guarded(self, action, *args):
        """Nothing that goes wrong in here may reach the user's run."""
        try:
            with torch._C.DisableTorchFunction():
                action(*args)
        except Exception as error:
            self.errors.append(error)

    def _record(self, func, args, kwargs, result):
        made = tuple(tensors_in(result))
        if not made and writes(func):
            made = tuple(tensors_in(args[0]))
        if made:
            encode, line = self._ledger.encode, frames.user_line(sys._getframe(3))
            op = Op(func, encode(args, self._call), encode(kwargs, self._call), self._call, line)
            self._ledger.add(op, made)

    def _enter(self, module, args):
        if self._here():
            self._guarded(self._begin, module, args)

    def _leave(self, module, args, result):
        if self._here():
            self._guarded(self._end, module, result)

    def _begin(self, module, args):
        if self._call is not None and self._call.suspended:
            return
        call = Call(module, self._call, frames.user_line(sys._getframe(3)))
        call.inputs = self._ledger.encode(args, call)
        if self._call is None:
            self._measure_inputs(args)
        self._call = call
        if isinstance(module, _FUSED) and not module.training:
            call.suspended = modes.remove(self)

    def _end(self, module, result):
        call = next((call for call in self._call or () if call.module() is module), None)
        if call is None:
            return
        self._call = call.parent
        if call.suspended:
            modes.push(self)
        made = tuple((path, tensor) for path, tensor in tensors_in(result) if self._ledger.find(tensor) is None)
        if made:  # scripted or fused: seen from outside only
            self._ledger.add(Op(call.kind, call.inputs, {}, call, call.line), made)

    def _measure_inputs(self, args):
        for _, tensor in tensors_in(args):
            source = self._ledger.ref(tensor).source
            if tensor.is_floating_point() and not tensor.requires_grad and tensor.numel() > 1:
                source.std = tensor.std()


def _intercept_backward(capture):
    """`Tensor.backward` is itself an overridable function: leave before it enters the mode, which could not be left inside."""
    original = torch.Tensor.backward

    def backward(tensor, *args, **kwargs):
        capture.stop()
        return original(tensor, *args, **kwargs)

    torch.Tensor.backward = backward
    return [lambda: setattr(torch.Tensor, "backward", original)]


def _body(function):
    """`function` without its own dispatch to the mode, so that what it calls is seen one by one."""
    dispatch = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    scope = {**function.__globals__, **dict.fromkeys(dispatch, lambda *_: False)}
    body = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    body.__kwdefaults__ = function.__kwdefaults__
    return body


_bodies = {functional.multi_head_attention_forward: _body(functional.multi_head_attention_forward)}
