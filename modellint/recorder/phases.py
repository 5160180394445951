"""The windows in which a run is watched: the first begins with its first step, each later one with something new."""

from __future__ import annotations

from typing import Any, Dict, Hashable, Optional, Set

from torch.utils.data import DataLoader

from .patches import Patches, Watch, guarded


class Phases(Watch):
    """After a window nothing is measured until a new optimizer, a second epoch, an evaluation, or layers that are frozen
    or unfrozen open the next one. The run ends with the last window, or when a whole epoch has brought nothing new.
    """

    def __init__(self, recorder: Any, windows: int) -> None:
        super().__init__(recorder)
        self._windows = windows
        self.forget()

    def forget(self) -> None:
        self.index = 0
        self.resting = False
        self._seen: Set[Hashable] = set()
        self._news = False  # something new came since the last epoch began
        self._loader: Optional[int] = None  # the one that was begun last
        self._trained: Set[Optional[int]] = set()  # loaders that steps were made from
        self._frozen: Any = None

    def apply(self, patches: Patches) -> None:
        if self._windows > 1:
            patches.around(DataLoader, "__iter__", self._begins)

    def close(self) -> None:
        """All steps of the present window have been watched."""
        if self.index + 1 >= self._windows:
            self.recorder.end("steps")
            return
        self.recorder.examine(goes_on=True)
        self.resting, self.recorder.is_sampling = True, False
        self._frozen = self._trainable()
        self.recorder.write({"kind": "rest", "window": self.index})

    def stepped(self) -> None:
        self._trained.add(self._loader)
        if self.resting and self._trainable() != self._frozen:
            self.begin("requires_grad", ("requires_grad", self._trainable()))

    def begin(self, kind: str, key: Hashable) -> None:
        """Watches the next steps, if `key` is new."""
        if self._is_new(key) and self.resting:
            self._count(kind)
            self.recorder.sample()

    def evaluates(self, place: Hashable) -> None:
        """An evaluation has been measured, and is a window of its own."""
        if self._is_new(("evaluation", place)) and self.resting:
            self._count("evaluation")
            if self.index + 1 >= self._windows:
                self.recorder.end("steps")

    def _begins(self, original: Any, args: Any, kwargs: Any) -> Any:
        self._note(id(args[0]))
        return original(*args, **kwargs)

    @guarded
    def _note(self, loader: int) -> None:
        if loader in self._trained:
            self._epoch()
        self._loader = loader

    def _epoch(self) -> None:
        if self.resting and not self._news and "epoch" in self._seen:
            self.recorder.end("steps")
            return
        self._news = False
        self.begin("epoch", "epoch")

    def _is_new(self, key: Hashable) -> bool:
        new = key not in self._seen
        self._seen.add(key)
        self._news = self._news or new
        return new

    def _count(self, kind: str) -> None:
        self.index += 1
        self.resting = self.resting and kind == "evaluation"
        step = max((track.done for track in self.recorder.tracks), default=0)
        found: Dict[str, Any] = {"kind": "window", "window": {"index": self.index, "phase": kind, "step": step}}
        self.recorder.write(found)

    def _trainable(self) -> Any:
        return tuple(parameter.requires_grad for track in self.recorder.tracks for parameter in track.parameters())
