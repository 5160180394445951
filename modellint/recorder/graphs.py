"""Lets `capture` record the first forward and loss of a run; its faults are warnings."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .patches import Watch


class GraphWatch(Watch):
    """One capture a run: started with the first optimizer, finished at the first backward()."""

    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._capture: Any = None
        self._done = False

    def start(self) -> None:
        if not self._done:
            self._done = True
            try:
                from .capture import Capture

                self._capture = Capture()
                self._capture.start()
            except Exception as error:
                self._fail(error)

    def finish(self, loss: Tensor) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            try:
                capture.stop()
                self._write(capture, loss)
            except Exception as error:
                self._fail(error)

    def abandon(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.stop()

    def _write(self, capture: Any, loss: Tensor) -> None:
        recorder = self.recorder
        model, names = recorder.roster.names(recorder.tracks)
        graph = capture.finish(loss, names, model)
        if graph is not None:
            numbers = (
                {name: recorder.roster.number(p) for name, p in model.named_parameters()} if model is not None else {}
            )
            graph["parameters"] = [{**each, "number": numbers[each["name"]]} for each in graph["parameters"]]
            recorder.write({"kind": "graph", "graph": graph})
        for error in capture.errors:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._capture = None
        self.recorder.notes.failed("graph", error)
