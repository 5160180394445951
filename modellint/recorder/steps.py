"""Optimizers: where they are made, when their gradients are cleared, and each of their steps."""

from __future__ import annotations

import functools
from typing import Any, List

import torch
from torch.optim import optimizer as optimizers

from . import frames
from .patches import Patches, Watch, argument, guarded
from .tensors import quiet
from .times import Times
from .track import Track


class StepWatch(Watch):
    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._stepping: List[Any] = []  # an optimizer may call others within its step: only the outermost counts

    def apply(self, patches: Patches) -> None:
        patches.around(optimizers.Optimizer, "__init__", self._made)
        patches.around(optimizers.Optimizer, "zero_grad", self._zero_grad)
        patches.around(torch.nn.Module, "zero_grad", self._zero_grad)
        patches.hook(optimizers.register_optimizer_step_pre_hook(self._before))
        patches.hook(optimizers.register_optimizer_step_post_hook(self._after))

    def skipped(self, track: Track) -> None:
        """A scaler found non-finite gradients and left the parameters as they are."""
        if track.taken < self.recorder.steps:
            with quiet():
                track.begin_step()
        self.finish(track, skipped=True)

    def _made(self, original: Any, args: Any, kwargs: Any) -> None:
        original(*args, **kwargs)
        self._note(args[0])

    @guarded
    def _note(self, optimizer: Any) -> None:
        self.recorder.add(optimizer)

    def _zero_grad(self, original: Any, args: Any, kwargs: Any) -> Any:
        self.recorder.by_hand.look()
        result = original(*args, **kwargs)
        self._cleared(args[0])
        return result

    @guarded
    def _cleared(self, owner: Any) -> None:
        for track in self.recorder.tracks:
            if track.is_of(owner) or (isinstance(owner, torch.nn.Module) and track.shares(owner.parameters())):
                track.cleared()

    @guarded
    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        self._stepping = [*self._stepping[: _index(self._stepping, optimizer)], optimizer]
        track = self.recorder.track_of(optimizer)
        if len(self._stepping) > 1 or (track.taken >= self.recorder.steps or not self.recorder.is_sampling):
            return None
        if not track.done:
            self.recorder.notes.place("step")
        with quiet():
            self.recorder.roster.note_zeros(track)
            track.begin_step()
        return _with_closure(track, args, kwargs)

    @guarded
    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._stepping = self._stepping[: _index(self._stepping, optimizer)]
        if not self._stepping:
            self.finish(self.recorder.track_of(optimizer))

    def finish(self, track: Track, skipped: bool = False) -> None:
        recorder = self.recorder
        recorder.stepping = frames.user_frames()
        if recorder.is_sampling and track.taken < recorder.steps:
            self._write(track, skipped)
        else:
            track.count()
        if track.done == 1:
            recorder.describe()
        recorder.may_end(track)
        recorder.phases.stepped()
        if recorder.is_sampling and recorder.complete():
            recorder.phases.close()

    def _write(self, track: Track, skipped: bool) -> None:
        recorder = self.recorder
        with quiet():
            measured = track.end_step(skipped, recorder.roster.number)
            told = {
                "batch": recorder.batch,
                "times": recorder.times.facts(),
                "graphs_alive": recorder.backwards.alive(),
                "window": recorder.phases.index,
            }
            recorder.write({**measured, **told})
        recorder.batch = recorder.called = None
        recorder.times = Times()


def _index(stack: List[Any], optimizer: Any) -> int:
    return next((index for index, other in enumerate(stack) if other is optimizer), len(stack))


def _with_closure(track: Track, args: Any, kwargs: Any) -> Any:
    """The same arguments, the closure replaced by one that reads the gradients which it has made."""
    closure = argument(args, kwargs, 1, "closure")
    if not callable(closure):
        return None

    @functools.wraps(closure)
    def watched() -> Any:
        result = closure()
        with quiet():
            track.read_applied()
        return result

    return ((args[0], watched, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": watched})
