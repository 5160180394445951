"""What is told of a run but once: warnings, an exception that left torch, the user's line of each part of the step."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

from . import ending, frames

Write = Callable[[Dict[str, Any]], None]


class Notes:
    def __init__(self, write: Write) -> None:
        self._write = write
        self.places: Dict[str, Any] = {}
        self._said: Dict[str, None] = {}
        self._raised = 0

    def warn(self, message: str) -> None:
        if message not in self._said:
            self._said[message] = None
            self._write({"kind": "warning", "message": message})

    def failed(self, what: str, error: BaseException) -> None:
        """A part of the recorder has failed; the run goes on without it."""
        self.warn("%s: %s: %s" % (what, type(error).__name__, error))

    def raised(self, error: BaseException) -> None:
        """An exception left torch: should the run come to nothing, this may be why. It is told once, not per module."""
        if self._raised != id(error):
            self._raised = id(error)
            self._write({"kind": "raised", **ending.describe(error, error.__traceback__)})

    def place(self, name: str, location: Optional[Dict[str, Any]] = None) -> None:
        """The user's line of a part of the step: the first that is seen."""
        if name not in self.places:
            self.places[name] = frames.place() if location is None else location
            self._write({"kind": "place", "name": name, "location": self.places[name], "stack": frames.user_stack()})
