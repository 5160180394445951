"""The recorder: hears from the patches what torch does, and turns each optimizer step into one plain record."""

from __future__ import annotations

import functools
import os
import platform
import sys
import threading
from typing import Any, Callable, Dict, List, Optional

import torch
from torch import Tensor

from . import ending, frames, process, roster, walk
from .graphs import GraphWatch
from .patches import Patches
from .rows import Rows, flat
from .tensors import Norms, is_plain, quiet, total
from .track import Observation, Track, settings

Write = Callable[[Dict[str, Any]], None]


def start(write: Write) -> None:
    """Called right after `import torch` in a process of a probed command."""
    steps = int(os.environ.get("MODELLINT_STEPS", "10"))
    finish = os.environ.get("MODELLINT_FINISH") == "1"
    recorder = Recorder(write, steps, ended=None if finish else ending.end)
    process.at_end(recorder.flush)
    os.register_at_fork(after_in_child=recorder.forked)
    recorder.attach()


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """A fault of the recorder becomes a warning record: it must never break the user's run."""

    @functools.wraps(method)
    def call(self: Recorder, *args: Any, **kwargs: Any) -> Any:
        try:
            with quiet():
                return method(self, *args, **kwargs)
        except Exception as error:
            self.warn("%s: %s: %s" % (method.__name__, type(error).__name__, error))
            return None

    return call


class Recorder:
    """Watches `steps` steps of every optimizer and gives records to `write`; then detaches and calls `ended(reason)`.

    attach() before the optimizer is made (or pass existing ones to optimizer_created()), detach() is safe at any time.
    """

    def __init__(self, write: Write, steps: int = 10, ended: Optional[Callable[[str], None]] = None) -> None:
        self.steps, self.finished, self.may_read_saved = steps, False, True
        self._write, self._ended = write, ended
        self._patches = Patches(self)
        self._reset()

    def _reset(self) -> None:
        self._tracks: List[Track] = []
        self._roster = roster.Roster()
        self._graph = GraphWatch()
        self._places: Dict[str, Any] = {}
        self._observation: Optional[Observation] = None
        self._loss: Optional[walk.LossCall] = None
        self._scaled: Dict[int, Any] = {}
        self._warned: Dict[str, bool] = {}
        self._depth = threading.local()
        self._backwards = self._in_backward = self._in_step = 0
        self._pid = os.getpid()

    def attach(self) -> None:
        self._write({"kind": "start", "pid": os.getpid(), "rank": os.environ.get("RANK"), "environment": environment()})
        self._patches.apply()

    def detach(self) -> None:
        self.finished = True
        self._patches.remove()
        self._graph.abandon()

    def forked(self) -> None:
        """A forked child records its own training, if it does any, in a file of its own."""
        self._reset()

    def here(self) -> bool:
        return not self.finished

    def flush(self) -> None:
        """Writes what is known of models and files; may be called at any time, also twice."""
        if self._tracks or self._backwards:
            self._describe()

    def warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned[message] = True
            self._write({"kind": "warning", "message": message})

    # what the patches tell

    @guarded
    def optimizer_created(self, optimizer: Any) -> None:
        if not self._tracks:
            self._patches.watch_modules()
            self._graph.start(self.warn)
        track = Track(len(self._tracks), optimizer)
        self._tracks.append(track)
        self._roster.forget_calls()
        self._introduce(track, frames.place())

    @guarded
    def gradients_cleared(self, owner: Any) -> None:
        for track in self._tracks:
            if track.optimizer() is owner or isinstance(owner, torch.nn.Module) and _shares(track, owner.parameters()):
                track.fresh = track.applied = False
                track.scale = None

    @guarded
    def module_entered(self, module: torch.nn.Module) -> None:
        if self._roster.note(module, self._tracks):
            self._place("model")

    @guarded
    def module_left(self, module: torch.nn.Module, args: Any, result: Any) -> None:
        owns = any(p is not None and p.dim() >= 2 for p in module._parameters.values()) or hasattr(
            module, "parametrizations"
        )
        if owns and isinstance(result, Tensor) and result.grad_fn is not None:
            walk.mark(result.grad_fn, walk.MODULE, walk.call_of(module, args[0] if args else None, frames.place()))

    def loss_begins(self) -> int:
        depth = getattr(self._depth, "value", 0)
        self._depth.value = depth + 1
        return depth

    def loss_left(self) -> None:
        self._depth.value -= 1

    @guarded
    def loss_ends(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        if self._tracks and isinstance(result, Tensor) and result.grad_fn is not None and is_plain(result):
            walk.mark(result.grad_fn, walk.LOSS, losses_call(function, args, kwargs))

    @guarded
    def loss_scaled(self, outputs: Any, result: Any) -> None:
        if isinstance(outputs, Tensor) and isinstance(result, Tensor) and result.numel() == 1 and result is not outputs:
            self._scaled[id(result)] = (result, outputs.detach())

    @guarded
    def backward_begins(self, roots: List[Tensor], gradients: Any) -> None:
        self._in_backward += 1
        if self._in_backward > 1 or not self._tracks:
            return
        self._backwards += 1
        if self._backwards == 1:
            self._place("backward")
            self._write({"kind": "backward"})
        for track in self._live():
            track.enter_backward()
        self._observation = self._observe(roots[0], gradients) if roots else Observation(None, None, {})

    @guarded
    def backward_ends(self) -> None:
        self._in_backward -= 1
        if self._in_backward == 0 and self._observation is not None:
            for track in self._live():
                track.leave_backward(self._observation)
            self._observation = None
            self._scaled.clear()
            if self._backwards >= max(100, 10 * self.steps) and not any(track.done for track in self._tracks):
                self._end("no step")

    @guarded
    def backward_failed(self, error: BaseException) -> None:
        self._in_backward -= 1
        self._observation = None
        self._write({**process.describe(type(error), error, error.__traceback__), "kind": "raised"})

    @guarded
    def gradients_unscaled(self, optimizer: Any) -> None:
        for track in self._tracks:
            if track.optimizer() is optimizer:
                track.scale = None

    def steps_of(self, optimizer: Any) -> Optional[int]:
        return next((track.done for track in self._tracks if track.optimizer() is optimizer), None)

    @guarded
    def scaler_stepped(self, optimizer: Any, before: Optional[int]) -> None:
        track = next((track for track in self._live() if track.optimizer() is optimizer), None)
        if track is not None and track.done == before:
            track.begin_step()
            self._finish_step(track, skipped=True)

    @guarded
    def clip_begins(self, parameters: List[Tensor]) -> Optional[float]:
        return total(Norms([parameter.grad for parameter in parameters]).values()) if self._tracks else None

    @guarded
    def clip_ends(self, kind: str, bound: Any, parameters: List[Tensor], result: Any, before: Optional[float]) -> None:
        norm = float(result) if kind == "norm" and result is not None else before
        concerned = [track for track in self._tracks if _shares(track, parameters)] or self._tracks[:1]
        for track in concerned:
            after_step = track.applied and bool(norm)
            self._write({
                "kind": "clip",
                "optimizer": track.index,
                "step": track.done - 1 if after_step else track.done,
                "clip": {
                    "kind": kind,
                    "bound": float(bound),
                    "norm": norm,
                    "after_backward": track.fresh,
                    "after_step": after_step,
                    "location": frames.place(),
                },
                "parameters": [self._roster.number(parameter) for parameter in parameters],
            })  # fmt: skip

    @guarded
    def step_begins(self, optimizer: Any) -> None:
        self._in_step += 1
        track = self._track(optimizer)
        if self._in_step == 1 and track.done < self.steps:
            if not track.done:
                self._place("step")
                self._roster.note_zeros(track)
            track.begin_step()

    @guarded
    def step_ends(self, optimizer: Any) -> None:
        self._in_step -= 1
        track = self._track(optimizer)
        if self._in_step == 0:
            self._finish_step(track)

    # what comes of it

    def _finish_step(self, track: Track, skipped: bool = False) -> None:
        if track.done < self.steps:
            self._write(track.end_step(skipped))
        else:
            track.done += 1
        if track.done == 1:
            self._describe()
        if self._complete():
            self._end("steps")

    def _complete(self) -> bool:
        stepped = [track for track in self._tracks if track.done]
        waiting = [track for track in self._tracks if track.reached and not track.done]
        enough = all(track.done >= self.steps for track in stepped) and not waiting
        return enough or any(track.done >= 3 * self.steps for track in stepped)

    def _end(self, reason: str) -> None:
        self.flush()
        self.detach()
        self._write({"kind": "end", "reason": reason})
        if self._ended is not None:
            self._ended(reason)

    def _live(self) -> List[Track]:
        return [track for track in self._tracks if track.done < self.steps and track.optimizer() is not None]

    def _track(self, optimizer: Any) -> Track:
        found = next((track for track in self._tracks if track.optimizer() is optimizer), None)
        if found is None:
            self.optimizer_created(optimizer)  # it was copied or unpickled: __init__ never ran
            found = self._tracks[-1]
        return found

    def _place(self, name: str) -> None:
        if name not in self._places:
            self._places[name] = frames.place()
            self._write({"kind": "place", "name": name, "location": self._places[name]})

    def _introduce(self, track: Track, location: Dict[str, Any]) -> None:
        optimizer = track.optimizer()
        self._write({
            "kind": "optimizer",
            "index": track.index,
            "name": type(optimizer).__name__,
            "learning_rate": float(optimizer.param_groups[0].get("lr", float("nan"))) if optimizer.param_groups else None,
            "parameters": [self._roster.number(parameter) for parameter in track.parameters()],
            "settings": settings(optimizer),
            "location": location,
        })  # fmt: skip

    def _observe(self, root: Tensor, gradients: Any) -> Observation:
        node, call = walk.loss_of(root.grad_fn, self.may_read_saved)
        readout = walk.readout_of(node, self.may_read_saved)
        if self._loss is None and call is not None:
            self._loss = call
            self._place_loss(call)
        if readout is not None:
            self._roster.readout = self._roster.readout or readout
        self._graph.finish(root, self._roster, self._tracks, self._write, self.warn)
        scaled = self._scaled.get(id(root))
        value = root.detach() if root.numel() == 1 and gradients in (None, [None], (None,)) else None
        scale = float(root.detach() / scaled[1]) if scaled and scaled[1] != 0 else None
        return Observation(value, scale, facts_of(call, readout, value))

    def _place_loss(self, call: walk.LossCall) -> None:
        self._write({"kind": "loss", "loss": {
            "kind": call.kind, "weighted": call.weighted, "ignore_index": call.ignore_index, "location": call.location,
        }})  # fmt: skip
        if call.location:
            self._places["loss"] = call.location
            self._write({"kind": "place", "name": "loss", "location": call.location})

    def _describe(self) -> None:
        with quiet():
            for record in self._roster.describe(self._tracks):
                self._write(record)
        self._write({"kind": "files", "files": source_files()})


def facts_of(call: Optional[walk.LossCall], readout: Optional[walk.Readout], loss: Optional[Tensor]) -> Dict[str, Any]:
    """The fields of a Step that one backward() tells."""
    from . import features

    found = call.rows.facts() if call is not None and call.rows is not None else {}
    if readout is not None and readout.features is not None:
        found["features"] = features.facts(readout.features)
    bad = [name for name in ("logits", "features") if not _finite(found.get(name))]
    if loss is not None and not bool(loss.isfinite().all()):
        bad.insert(0, "loss")
    found["non_finite"] = bad
    return found


def _finite(found: Any) -> bool:
    values = (found or {}).get("values", {})
    return all(value - value == 0 for value in values.values())


def losses_call(function: Any, args: Any, kwargs: Any) -> walk.LossCall:
    import inspect

    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    weighted = any(isinstance(given.get(name), Tensor) for name in ("weight", "pos_weight"))
    name = function.__name__
    kind = name[: -len("_loss")] if name.endswith("_loss") else name
    rows = None
    if name in ("cross_entropy", "nll_loss"):
        matrix = flat(given["input"].detach(), given["target"])
        rows = Rows(*matrix, given["ignore_index"]) if matrix else None
    return walk.LossCall(kind, frames.place(), weighted, given.get("ignore_index"), rows)


def _shares(track: Track, parameters: Any) -> bool:
    ids = {id(parameter) for parameter in track.parameters()}
    return any(id(parameter) in ids for parameter in parameters)


def environment() -> Dict[str, str]:
    device = torch.cuda.get_device_name() if torch.cuda.is_initialized() else "cpu"
    return {"python": platform.python_version(), "torch": torch.__version__, "device": device}


def source_files() -> List[str]:
    """The user's own source files that this process has executed."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    mine = {
        file
        for file in files
        if isinstance(file, str) and file.endswith(".py") and os.path.basename(file) != "sitecustomize.py"
    }
    return sorted(
        frames.shown(file) for file in mine if frames.user_path(file) and os.path.exists(frames.absolute(file))
    )
