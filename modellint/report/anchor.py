"""Where CI systems hang a finding: a path in the repository and a place in it that does not contradict itself."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modellint.core.diagnostic import Location

from .summary import script


def anchor(location: Location, run: Mapping[str, Any] | None = None) -> Location:
    """`location` with its path in the repository; without a file, the first line of the script that was run.

    CI systems refuse or drop what has no line, and what ends before it starts.
    """
    path = location.path or script(run) or next(iter((run or {}).get("files") or ()), None)
    if path is None:
        return Location(module=location.module)
    if location.path is None or not location.line or path.endswith(".ipynb"):  # lines of a cell are none of the file
        return Location(in_repository(path), 1, module=location.module)
    end_line, end_column = location.end_line or location.line, location.end_column
    if (end_line, end_column or math.inf) <= (location.line, location.column or 1):
        end_line, end_column = location.line, None
    return Location(in_repository(path), location.line, location.column, end_line, end_column, location.module)


def in_repository(path: str) -> str:
    """`path` with slashes, relative to the root of the repository where it lies below it."""
    absolute, root = Path(os.path.abspath(path)), repository()
    return (absolute.relative_to(root) if absolute.is_relative_to(root) else absolute).as_posix()


def repository() -> Path:
    """The repository around the current directory; that directory itself where there is none."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
