"""Calls of backward(): the gradients before and after, and what the graph of the loss tells."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Sequence

import torch
from torch import Tensor

from . import activations, features, marks, pairs, walk
from .patches import Patches, Watch, argument, guarded
from .tensors import is_plain, number, quiet, unwrapped
from .window import Observation

LOOSE = 2  # steps until every optimizer has been made


class BackwardWatch(Watch):
    """Only the outermost backward() counts: re-entrant checkpointing calls it again from within."""

    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self.count = 0
        self.depth = 0
        self._graphs: List[Any] = []
        self._observation: Optional[Observation] = None

    def apply(self, patches: Patches) -> None:
        patches.around(torch.autograd, "backward", self._around)
        patches.around(torch.autograd.graph.saved_tensors_hooks, "__enter__", self._hooks_entered)

    def _around(self, original: Any, args: Any, kwargs: Any) -> Any:
        if self.depth == 0:
            self._begins(argument(args, kwargs, 0, "tensors"), argument(args, kwargs, 1, "grad_tensors"))
        result = self.within(original, args, kwargs)
        if self.depth == 0:
            self._ends()
        return result

    def within(self, original: Any, args: Any, kwargs: Any) -> Any:
        """Calls `original`, and lets no backward() count that it calls itself."""
        self.depth += 1
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            self.depth -= 1

    def _hooks_entered(self, original: Any, args: Any, kwargs: Any) -> Any:
        # Reading saved tensors would run the unpack hook: a checkpoint would compute its segment once more.
        self.recorder.may_read_saved = False
        return original(*args, **kwargs)

    @guarded
    def _begins(self, roots: Any, gradients: Any) -> None:
        root = roots if isinstance(roots, Tensor) else roots[0]
        self.recorder.notes.place("backward")
        self.recorder.by_hand.look()
        self.recorder.evaluations.trained()
        if not self.recorder.tracks:
            self.recorder.by_hand.begin(walk.leaves(root.grad_fn))
            return
        self.count += 1
        if not self.recorder.is_sampling:
            return
        with quiet():
            for track in self.recorder.live():
                track.enter_backward()
            self._observation = self.observe(root, gradients)

    @guarded
    def _ends(self) -> None:
        recorder, observation, self._observation = self.recorder, self._observation, None
        with quiet():
            if self.conclude(observation) is None:
                return
            for track in recorder.live():
                track.leave_backward(observation)
            recorder.by_hand.arm()
        self.give_up()

    def conclude(self, observation: Optional[Observation]) -> Optional[Observation]:
        """With what is known of its losses only afterwards."""
        losses, self.recorder.losses = self.recorder.losses, []
        self.recorder.scalers.forget()
        if observation is not None:
            observation.facts["loss_weight"] = weight(losses, observation.scale)
            observation.facts["class_losses"] = sum(call.rows is not None for call in losses)
            observation.facts["regression"] = pairs.largest(
                call.pair for call in losses if call.kind in pairs.REGRESSIONS
            )
        return observation

    def give_up(self) -> None:
        """Where many gradients have moved nothing there is nothing to wait for."""
        tracks = self.recorder.tracks
        if self.count >= max(100, 10 * self.recorder.steps) and not any(track.done for track in tracks):
            self.recorder.end("no step")

    @guarded
    def _failed(self, error: BaseException) -> None:
        self._observation = None
        self.recorder.notes.raised(error)

    def observe(self, root: Tensor, gradients: Any) -> Observation:
        node, call = walk.loss_of(root.grad_fn, self.recorder.may_read_saved)
        readout = walk.readout_of(node, self.recorder.may_read_saved)
        self.recorder.found(root, call, readout)
        self._graphs.append(marks.presence(root.grad_fn))
        if is_plain(root) and any(track.done == LOOSE for track in self.recorder.live()):
            self.recorder.roster.note_loose(walk.leaves(root.grad_fn), self.recorder.tracks)
        started = root.numel() == 1 and (gradients is None or all(gradient is None for gradient in gradients))
        value = unwrapped(root).detach() if started else None
        shape = activations.facts(root.grad_fn, self.recorder.may_read_saved, self.recorder.roster.number)
        return Observation(value, self.recorder.scalers.scale_of(root), {**facts(call, readout, value), **shape})

    def alive(self) -> int:
        """How many of the graphs that backward() has gone through are still held by somebody."""
        return sum(graph() is not None for graph in self._graphs)


def facts(call: Optional[marks.LossCall], readout: Optional[walk.Readout], loss: Optional[Tensor]) -> Dict[str, Any]:
    """The fields of a Step that one backward() tells."""
    found = call.rows.facts() if call is not None and call.rows is not None else {}
    if call is not None and call.value is not None:
        found["objective"] = number(call.value)
    if call is not None and call.pair is not None:
        found["pair"] = call.pair
    if call is not None and call.transcripts is not None:
        found["transcripts"] = call.transcripts
    if readout is not None and readout.features is not None:
        found["features"] = features.facts(readout.features)
    bad = [name for name in ("logits", "features") if not _is_finite(found.get(name) or {})]
    if loss is not None and not bool(loss.isfinite()):
        bad.insert(0, "loss")
    return {**found, "non_finite": bad}


def weight(losses: Sequence[marks.LossCall], scale: Optional[float]) -> Optional[float]:
    """The largest derivative of the root by a loss: over classes if there was one; None if none was seen."""
    classed = [call for call in losses if call.rows is not None] or losses
    found = [float(unwrapped(given).item()) for call in classed for given in call.weights if given is not None]
    return max(found) / (scale or 1.0) if found else None


def _is_finite(found: Dict[str, Any]) -> bool:
    values = found.get("values", {})
    return all(math.isfinite(values[name]) for name in ("min", "max") if name in values)
