"""Which files belong to a test suite, whose faults are often meant and whose runs are two steps long."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePath

FRAMEWORKS = ("pytest", "unittest")


def holds(path: str, imports: Iterable[str], root: Path) -> bool:
    """Whether the file lies in a folder `tests` (or is a `test_net.py` in a folder `test`), or imports (full names) a
    framework for tests.

    Not by its own name alone: `test.py` and `test_net.py` are scripts that evaluate a model.
    """
    *folders, name = PurePath(os.path.relpath(path, root)).parts
    return "tests" in folders or ("test" in folders and name.startswith("test_")) or tests(imports)


def tests(imports: Iterable[str]) -> bool:
    """Whether the file imports a framework for tests: nothing there is tuned, so that suspicions are of no use."""
    return any(name.partition(".")[0] in FRAMEWORKS for name in imports)
