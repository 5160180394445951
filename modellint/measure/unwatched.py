"""Why a Python process is not watched: it does not read the PYTHONPATH that carries the recorder, or has another."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

INJECT = str(Path(__file__).resolve().parent / "inject")
DEAF = "IES"  # options by which Python reads no environment, or no sitecustomize


def reason(pid: int) -> str:
    """In a sentence that follows a semicolon; empty where nothing speaks against it, and where there is no /proc."""
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        words = _words(pid, "cmdline")
        path = dict(word.partition("=")[::2] for word in _words(pid, "environ")).get("PYTHONPATH", "")
    except OSError:
        return ""
    if not program.startswith(("python", "pypy")):
        return ""
    said = shlex.join(words[:6])
    if deaf := next((option for option in options(words) if set(option) & set(DEAF)), None):
        return f"`{said}` cannot be watched: -{deaf} keeps Python from loading the recorder"
    if INJECT in path.split(os.pathsep):
        return ""
    better = f"write PYTHONPATH={path}:$PYTHONPATH" if path else "leave it as it is"
    return f"`{said}` cannot be watched: its PYTHONPATH is not the one that carries the recorder; {better}"


def options(words: Sequence[str]) -> Iterator[str]:
    """The letters of the interpreter's own options."""
    following = iter(words[1:])
    for word in following:
        if not word.startswith("-") or word.startswith("--") or word == "-":
            return
        letters = word[1:]
        yield letters.partition("W")[0].partition("X")[0]
        if letters[0] in "mc":  # all other words are the script's
            return
        if letters in ("W", "X"):
            next(following, None)


def _words(pid: int, file: str) -> list[str]:
    return Path(f"/proc/{pid}/{file}").read_text(errors="replace").split("\0")[:-1]
