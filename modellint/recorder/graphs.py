"""Lets `capture` record the first forward and loss of a run; its faults are warnings."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from torch import Tensor

Warn = Callable[[str], None]


class GraphWatch:
    """One capture a run: started with the first optimizer, finished at the first backward()."""

    def __init__(self) -> None:
        self._capture: Any = None
        self._done = False

    def start(self, warn: Warn) -> None:
        if self._done:
            return
        try:
            from .capture import Capture

            self._capture = Capture()
            self._capture.start()
        except Exception as error:
            self._fail(error, warn)

    def finish(
        self, loss: Tensor, roster: Any, tracks: List[Any], write: Callable[[Dict[str, Any]], None], warn: Warn
    ) -> None:
        capture, self._capture = self._capture, None
        if capture is None:
            return
        self._done = True
        try:
            capture.stop()
            model, names = roster.names(tracks)
            graph = capture.finish(loss, names, model)
            if graph is not None:
                write({"kind": "graph", "graph": graph})
        except Exception as error:
            self._fail(error, warn)

    def abandon(self) -> None:
        capture, self._capture = self._capture, None
        self._done = True
        if capture is not None:
            capture.stop()

    def _fail(self, error: Exception, warn: Warn) -> None:
        self._capture, self._done = None, True
        warn("no graph: %s: %s" % (type(error).__name__, error))
