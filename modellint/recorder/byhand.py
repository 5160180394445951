"""Training without an optimizer: parameters that change between two calls of backward() have been stepped by hand."""

from __future__ import annotations

import itertools
from typing import Any, Optional, Sequence

from torch import Tensor

from .patches import Watch, guarded
from .tensors import quiet
from .track import Bare, Track


class ByHandWatch(Watch):
    """Begins with the first backward() when there is no optimizer, and gives way to the first that is made."""

    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._parameters: Optional[Bare] = None  # the track holds it weakly
        self._track: Optional[Track] = None

    def begin(self, leaves: Sequence[Tensor]) -> None:
        if leaves:
            self._parameters = Bare(leaves)
            self._track = self.recorder.add(self._parameters)

    def holds_like(self, tensors: Sequence[Tensor]) -> bool:
        """Whether they may be what its parameters have become: as many, of the same shapes."""
        held = self._track.parameters() if self._track is not None else []
        alike = len(held) > 1 and [each.shape for each in held] == [each.shape for each in tensors]
        return alike or (bool(held) and all(a is b for a, b in itertools.zip_longest(held, tensors)))

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """The update has made new tensors of the parameters."""
        if self._parameters is not None and self.holds_like(tensors):
            for old, new in zip(self._parameters.param_groups[0]["params"], tensors):
                self.recorder.roster.renew(old, new)
            self._parameters.param_groups[0]["params"] = list(tensors)

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
            if changed and not track.is_answered():
                track.read_applied()
        if changed:
            self._introduce(track)
            self.recorder.optimizers.finish(track)

    def _introduce(self, track: Track) -> None:
        if not track.done:
            places, numbers = self.recorder.notes.places, track.numbers(self.recorder.roster.number)
            known = {"parameters": numbers, "location": places.get("backward") or places.get("grad", {})}
            self.recorder.write({"kind": "optimizer", "index": track.index, "name": "by hand", **known})
