"""How many values may be looked at for one answer: what comes to no end is given up, at the same place on every machine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 1_000_000  # some seconds; of 3,000 files of libraries and of training the one that takes most comes to 44,450


class TooMuchError(Exception):
    """Of a rule or a fact that is not to be had for this file."""

    def __init__(self) -> None:
        super().__init__(f"it looked at more than {MOST:,} values of the file and was given up")


class _Effort:
    """What is left; counted in place, as that is done a million times."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = math.inf


effort = _Effort()


@contextmanager
def limited() -> Iterator[None]:
    effort.left = MOST
    try:
        yield
    finally:
        effort.left = math.inf
