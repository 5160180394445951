"""A process that has imported torch and then forks for each re-run that it is asked for, so that none imports it again."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import socket
import sys
import threading
from typing import Any, Dict

PAUSE = 0.02  # seconds between two looks at forks that may have ended
MESSAGE = 1 << 17


def serve(address: str) -> None:
    """Returns in every fork, which goes on with the script; this process ends with the one that asks.

    A message asks with a "number", an "environment" and a "log"; it is answered by the "pid", and later by the "code".
    """
    _import_what_follows()
    if threading.current_thread() is not threading.main_thread():
        os._exit(0)  # a fork would have this thread only
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    numbers: Dict[int, int] = {}
    while True:
        if select.select([connection], [], [], PAUSE if numbers else None)[0]:
            message = connection.recv(MESSAGE)
            if not message:
                os._exit(0)
            job = json.loads(message)
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if not pid:
                connection.close()
                _become(job)
                return
            numbers[pid] = job["number"]
            _tell(connection, {"number": job["number"], "pid": pid})
        for pid in list(numbers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                _tell(connection, {"number": numbers.pop(pid), "code": code})


def _import_what_follows() -> None:
    """What every run imports by its first step: the recorder and, within the optimizers of torch, the compiler."""
    importlib.import_module(".orders", __package__)
    with contextlib.suppress(ImportError):
        importlib.import_module("torch._dynamo")


def _tell(connection: socket.socket, answer: Dict[str, int]) -> None:
    try:
        connection.send(json.dumps(answer).encode())
    except OSError:
        os._exit(0)  # nobody is there any more


def _become(job: Dict[str, Any]) -> None:
    os.setsid()
    os.environ.update(job["environment"])
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
