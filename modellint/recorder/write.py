"""Records to disk as JSON lines, one file a process, each line written at once so that a killed process loses none."""

from __future__ import annotations

import math
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple


class Journal:
    """Writes each record to `FOLDER/process-PID.jsonl` with the time; a forked child gets a file of its own."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._pid: Optional[int] = None
        self._file = -1
        self._identity: Optional[Tuple[int, int]] = None

    def __call__(self, record: Dict[str, Any]) -> None:
        import json

        if self._pid != os.getpid() or not self._is_open():
            self._open()
        text = json.dumps(plain({**record, "at": round(time.time(), 3)}), allow_nan=False)
        line = memoryview((text + "\n").encode())
        while line:
            line = line[os.write(self._file, line) :]

    def _open(self) -> None:
        """Never as a standard stream, which a script may have closed: what others print would land in the journal."""
        self._pid = os.getpid()
        name = os.path.join(self.folder, "process-%d.jsonl" % self._pid)
        low = []
        while True:
            self._file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if self._file > 2:
                break
            low.append(self._file)
        for number in low:
            os.close(number)
        self._identity = _identity(self._file)

    def _is_open(self) -> bool:
        """A script may close every descriptor and open files of its own under the same numbers."""
        try:
            return _identity(self._file) == self._identity
        except OSError:
            return False


def _identity(file: int) -> Tuple[int, int]:
    state = os.fstat(file)
    return state.st_dev, state.st_ino


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
