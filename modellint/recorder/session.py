"""The recorder: watches a number of steps of every optimizer and turns them into plain records."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Iterable, List, Optional

from torch import Tensor

from . import frames, marks, ranks, surroundings, walk
from .asked import AskWatch
from .backwards import BackwardWatch
from .bounds import BoundsWatch
from .byhand import ByHandWatch
from .bystanders import BystanderWatch
from .calls import CallWatch
from .clips import ClipWatch
from .description import describe
from .evaluation import EvaluationWatch
from .examine import examine
from .fresh import LoadWatch
from .given import GivenWatch
from .graphs import GraphWatch
from .losses import LossWatch
from .notes import Notes, Write
from .patches import Patches, Watch
from .phases import Phases
from .replays import ReplayWatch
from .roster import Roster
from .scalers import ScalerWatch
from .steps import StepWatch
from .tensors import is_plain
from .times import Times
from .track import Bare, Track


class Recorder:
    """Gives records to `write`; after `steps` steps of every optimizer that steps, in each of at most `windows` windows,
    it detaches and calls `ended`.

    attach() before the optimizer is made, or add() those that exist; detach() is safe at any time.
    """

    def __init__(
        self, write: Write, steps: int = 10, ended: Optional[Callable[[], None]] = None, windows: int = 1
    ) -> None:
        self.write, self.steps, self._ended = write, steps, ended
        self.examines = True  # the model, after the first window
        self.records_graph = True  # by a function mode, which would tear apart what torch.compile makes
        self._patches = Patches()
        self.scalers, self.optimizers, self.backwards = ScalerWatch(self), StepWatch(self), BackwardWatch(self)
        self._graph, self._calls, self._given = GraphWatch(self), CallWatch(self), GivenWatch(self)
        self.phases = Phases(self, windows)
        self._is_watching = False
        kinds = AskWatch, ClipWatch, LoadWatch, LossWatch, BoundsWatch, ReplayWatch
        self._others: List[Watch] = [kind(self) for kind in kinds]
        self.forget()

    def forget(self) -> None:
        """Begins anew: a forked child records its own training, if it does any."""
        self.tracks: List[Track] = []
        self.roster, self.by_hand, self.evaluations = Roster(), ByHandWatch(self), EvaluationWatch(self)
        self.bystanders = BystanderWatch(self)
        self.phases.forget()
        self.may_read_saved = True  # the saved tensors of autograd nodes
        self.stepping: List[Any] = []  # the user's frames around the last step(), innermost first
        self.notes = Notes(self.write)
        self._loss: Optional[marks.LossCall] = None
        self.losses: List[marks.LossCall] = []  # since the last backward()
        self.batch: Optional[Dict[str, Any]] = None  # of the step that is being made
        self.times = Times()  # of the same step
        self.called: Any = None  # its model, held weakly
        self.is_sampling = self.is_examining = False
        self.backwards.count = 0

    def attach(self) -> None:
        self.write({"kind": "start", "rank": os.environ.get("RANK"), "environment": surroundings.versions()})
        self.describe()  # a script's own path is forgotten by the interpreter when the script is done
        for watch in (self.scalers, self.optimizers, self.backwards, self.phases, *self._others):
            watch.apply(self._patches)

    def detach(self) -> None:
        self.stepping = []
        self._graph.abandon()
        self._given.take()
        self._patches.remove()

    def flush(self) -> None:
        """Writes what is known of models and files; may be called at any time, also twice."""
        self.describe()
        left = surroundings.left(self.stepping)
        if left is not None:
            self.write({"kind": "left", **left})

    def end(self, reason: str) -> None:
        if reason == "steps":
            self.examine(goes_on=self._ended is None)
        self.describe()
        self.detach()
        self.write({"kind": "end", "reason": reason})
        if self._ended is not None:
            self._ended()

    def leave(self) -> None:
        """The training has ended by itself, maybe before its last watched step: it is examined as it is."""
        if self.is_sampling and any(track.done > 1 for track in self.tracks) and ranks.standing() is None:
            self.examine(goes_on=True)

    def examine(self, goes_on: bool) -> None:
        """Once; `goes_on`: the user's code runs on afterwards."""
        if not self.examines or self.is_examining:
            return
        self.is_examining = True
        try:
            for record in examine(self._given, len(self.tracks), goes_on):
                self.write(record)
        except Exception as error:
            self.notes.failed("examine", error)
        self.examines = self.is_examining = False

    def may_end(self, track: Track) -> None:
        """Called between steps: what the model is given after the first is kept for the examinations, for any may be the last."""
        if self.examines and (track.done or self.steps <= 2):
            self._given.arm()

    def add(self, optimizer: Any) -> Track:
        """Watches an optimizer, which is held weakly."""
        if not isinstance(optimizer, Bare):
            self.by_hand.give_way()
        track = Track(len(self.tracks), optimizer)
        if not self._is_watching:
            self._is_watching = True
            self._calls.apply(self._patches)
            if self.records_graph:
                self._graph.start()
        self.tracks.append(track)
        self.phases.begin("optimizer", ("optimizer", track.index))
        self.is_sampling = not self.phases.resting
        self.roster.forget_calls()
        self.may_end(track)
        if not isinstance(optimizer, Bare):
            introduced = {"parameters": track.numbers(self.roster.number), "location": frames.place()}
            self.write({"kind": "optimizer", "index": track.index, **introduced, **track.describe()})
        return track

    def track_of(self, optimizer: Any) -> Track:
        """An optimizer that was copied or unpickled never ran __init__: it is added when it is first seen."""
        return next((track for track in self.tracks if track.is_of(optimizer)), None) or self.add(optimizer)

    def live(self) -> Iterable[Track]:
        return (track for track in self.tracks if track.taken < self.steps and track.is_alive())

    def sample(self) -> None:
        """Watches as many steps again."""
        self.is_sampling, self.batch, self.called = True, None, None
        for track in self.tracks:
            track.taken = 0

    def complete(self) -> bool:
        """Whether every optimizer has had its steps; one that steps more rarely is waited for, within bounds."""
        most = max((track.taken for track in self.tracks), default=0)
        used = [parameter for track in self.tracks if track.done for parameter in track.parameters()]
        waiting = [track for track in self.live() if track.taken or (track.backwards and not track.shares(used))]
        return most >= 3 * self.steps or (most >= self.steps and not waiting)

    def found(self, root: Tensor, call: Optional[marks.LossCall], readout: Optional[walk.Readout]) -> None:
        """What the graph of a loss has told; the first of each kind stays."""
        if call is not None and (self._loss is None or (self._loss.rows is None and call.rows is not None)):
            self._loss = call
            self.write({"kind": "loss", "loss": call.describe()})
            if call.location:
                self.notes.place("loss", call.location)
        self._given.note_labels(call)
        self.times.note_target(call.pair if call is not None else None)
        if is_plain(root):
            self.roster.note_readout(readout)
            self._graph.finish(root)
        else:  # its parameters are wrappers of torch.func, which nothing else knows
            self._graph.abandon()

    def describe(self) -> None:
        """A fault in here must not keep the run from its end."""
        try:
            for record in describe(self.tracks, self.roster, self.bystanders):
                self.write(record)
        except Exception as error:
            self.notes.failed("describe", error)
