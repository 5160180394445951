"""How a run's processes are doing: the memory that they hold, whether the machine's ran out, who of them is not watched."""

from __future__ import annotations

import re
import time
from pathlib import Path

from . import unwatched
from .processes import Processes

PAUSE, SHARE = 0.5, 20  # between two looks: seconds, and times as long as a look takes
KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class Vitals:
    """`memory` is the most that all of them held together, in bytes; `unwatched` says why the recorder is not in one."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._next = 0.0
        self._since: dict[int, float] = {}
        self._kills = _kills()
        self.memory, self.unwatched, self.alone = 0, "", 0.0

    @property
    def starved(self) -> bool:
        """Whether the kernel has killed a process for want of memory since the run began."""
        return _kills() > self._kills

    def look(self) -> None:
        """Now and then: to find all processes takes some milliseconds."""
        now = time.monotonic()
        if now < self._next:
            return
        pids = self._processes.alive()
        self.memory = max(self.memory, self._processes.memory(pids))
        self._seek({*pids}, now)
        self._next = now + max(PAUSE, SHARE * (time.monotonic() - now))

    def _seek(self, pids: set[int], now: float) -> None:
        """One that was there at an earlier look; the next may find that it has become another program."""
        ready = self._processes.ready()
        reasons = {pid: reason for pid in pids.difference(ready) if (reason := unwatched.reason(pid))}
        self._since = {pid: self._since.get(pid, now) for pid in reasons}
        lasting = [pid for pid, since in self._since.items() if since < now]
        self.unwatched = next((reasons[pid] for pid in lasting), self.unwatched)
        self.alone = 0.0 if ready else max((now - self._since[pid] for pid in lasting), default=0.0)


def _kills() -> int:
    try:
        found = KILLS.search(Path("/proc/vmstat").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0
