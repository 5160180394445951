"""Records to disk as JSON lines, one file a process, each line written at once so that a killed process loses none."""

from __future__ import annotations

import math
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional


class Journal:
    """Writes each record to `FOLDER/process-PID.jsonl` with the time; a forked child gets a file of its own."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._pid: Optional[int] = None
        self._file = -1

    def __call__(self, record: Dict[str, Any]) -> None:
        import json

        if self._pid != os.getpid():
            self._pid = os.getpid()
            name = os.path.join(self.folder, "process-%d.jsonl" % self._pid)
            self._file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        text = json.dumps(plain({**record, "at": round(time.time(), 3)}), allow_nan=False)
        line = memoryview((text + "\n").encode())
        while line:
            line = line[os.write(self._file, line) :]


def plain(value: Any) -> Any:
    """`value` ready for strict JSON: non-finite floats become "nan", "inf" and "-inf", strangers their text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)
