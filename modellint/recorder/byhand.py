"""Training without an optimizer: parameters that change between two calls of backward() have been stepped by hand."""

from __future__ import annotations

from typing import Any, Optional

from torch import Tensor

from . import walk
from .patches import Watch, guarded
from .tensors import quiet
from .track import Bare, Track


class ByHandWatch(Watch):
    """Begins with the first backward() when there is no optimizer, and gives way to the first that is made."""

    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._parameters: Optional[Bare] = None  # the track holds it weakly
        self._track: Optional[Track] = None

    def begin(self, root: Tensor) -> None:
        leaves = walk.leaves(root.grad_fn)
        if leaves:
            self._parameters = Bare(leaves)
            self._track = self.recorder.add(self._parameters)

    def give_way(self) -> None:
        """The tracks that stay when an optimizer is made."""
        if self._track is not None and not self._track.done:
            self.recorder.tracks.remove(self._track)
            self._track = None

    def waits(self, track: Track) -> bool:
        """Whether the first step, which was discovered too late to be measured, is still being made."""
        return track is self._track and not track.is_armed()

    def arm(self) -> None:
        """The gradients are there: from now on a change of the parameters is a step."""
        if self._track is not None and self._track.taken < self.recorder.steps and self.recorder.is_sampling:
            self.recorder.roster.note_zeros(self._track)
            self._track.begin_step()

    @guarded
    def look(self) -> None:
        """Whether a step has been made; called when the next backward() begins and before gradients are cleared."""
        track = self._track
        if track is None or not track.is_armed():
            return
        with quiet():
            changed = any(change for change in track.updates())
            if changed:
                track.read_applied()
        if changed:
            self._introduce(track)
            self.recorder.optimizers.finish(track)

    def _introduce(self, track: Track) -> None:
        if not track.done:
            numbers, location = track.numbers(self.recorder.roster.number), self.recorder.places.get("backward", {})
            record = {
                "kind": "optimizer",
                "index": track.index,
                "name": "by hand",
                "parameters": numbers,
                "location": location,
            }
            self.recorder.write(record)
