"""Whom a run speaks to over the network, which is left alone."""

from __future__ import annotations

import os
import sys

from . import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Set

    from .write import Journal

_HERE = ("localhost", "::1", "0.0.0.0", "::", "", os.uname().nodename if hasattr(os, "uname") else "")


class Network:
    """Listens to the interpreter's audit events: names that are looked up, and addresses without a name."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._told: Set[str] = set()
        self._named: Set[Any] = set()  # the ports that names were looked up for

    def install(self) -> None:
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: Any) -> None:
        if event == "socket.getaddrinfo":
            self._named.add(str(args[1]))
            self._note(args[0], args[1])
        elif event == "socket.connect" and isinstance(args[1], tuple) and str(args[1][1]) not in self._named:
            self._note(args[1][0], args[1][1])

    def _note(self, host: Any, port: Any) -> None:
        name = os.fsdecode(host) if isinstance(host, (str, bytes)) else ""
        where = "%s:%s" % (name, port)
        if name in _HERE or name.startswith("127.") or where in self._told:
            return
        self._told.add(where)
        self._journal({"kind": "network", "host": where, "location": frames.place(sys._getframe(1))})
