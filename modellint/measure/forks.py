"""A command that is started once, imports torch, and is forked for each of its runs; where that can be done."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import environment
from .child import LOG
from .launch import Options, words

OURS = "MODELLINT_"
MESSAGE = 1 << 17
LIMIT = 60.0  # seconds until torch is imported; then runs are started one by one


class Fork:
    """A run of the command, as `subprocess.Popen` would show it."""

    def __init__(self) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self.born, self.ended = threading.Event(), threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> int:
        self.ended.wait()
        return self.returncode or 0


class Forks:
    """`start` is None where the command cannot be forked: it does not import torch, or not on Linux, or each run of it
    shall find the files as they were.
    """

    def __init__(self, command: Sequence[str], options: Options) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="modellint-"))
        self._forks: dict[int, Fork] = {}
        self._lock = threading.Lock()
        possible = sys.platform == "linux" and not options.sandbox
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) if possible else None
        self._connection = self._connected(command, options) if self._listener is not None else None
        self.start = self._start if self._connection is not None else None
        if self._connection is not None:
            threading.Thread(target=self._listen, args=(self._connection,), daemon=True).start()

    def close(self) -> None:
        for end in filter(None, (self._connection, self._listener)):
            end.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connected(self, command: Sequence[str], options: Options) -> socket.socket | None:
        assert self._listener is not None
        address = str(self._folder / "forks")
        self._listener.bind(address)
        self._listener.listen(1)
        self._listener.settimeout(0.05)
        (self._folder / "created.txt").touch()
        given = {**environment.of(self._folder, options), "MODELLINT_FORKS": address}
        with open(self._folder / LOG, "wb") as log:
            started = subprocess.Popen(
                environment.carried(words(command, options)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=given,
                start_new_session=True,
            )
        for _ in range(int(LIMIT / 0.05)):
            try:
                return self._listener.accept()[0]
            except TimeoutError:
                if started.poll() is not None:
                    return None
        started.kill()
        return None

    def _start(self, environment: Mapping[str, str], log: Path) -> Fork:
        assert self._connection is not None
        fork = Fork()
        with self._lock:
            number = len(self._forks)
            self._forks[number] = fork
            ours = {name: value for name, value in environment.items() if name.startswith(OURS)}
            self._connection.send(json.dumps({"number": number, "environment": ours, "log": str(log)}).encode())
        fork.born.wait()
        return fork

    def _listen(self, connection: socket.socket) -> None:
        while message := self._received(connection):
            answer: dict[str, Any] = json.loads(message)
            fork = self._forks[answer["number"]]
            if "pid" in answer:
                fork.pid = answer["pid"]
                fork.born.set()
            else:
                fork.returncode = answer["code"]
                fork.ended.set()
        for fork in self._forks.values():
            fork.returncode = fork.returncode if fork.returncode is not None else 1
            fork.born.set()
            fork.ended.set()

    def _received(self, connection: socket.socket) -> bytes:
        try:
            return connection.recv(MESSAGE)
        except OSError:
            return b""
