"""Units of files to one report: what was found before where nothing that it depends on has changed, else read anew."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import pipeline
from .core.cache import Cache
from .core.diagnostic import Report
from .core.plain import from_plain, to_plain
from .digest import digest, of_file, of_the_engine
from .unit import Unit

CACHE = Path(".modellint_cache", "check")


def check(units: Sequence[Unit], *, cached: bool = True) -> Report:
    """What reading finds in the files of all units. Nothing is executed.

    Raises UsageError for a setting that cannot be read.
    """
    return pipeline.together([_known(unit) if cached else pipeline.check(unit.files, unit.settings) for unit in units])


def _known(unit: Unit) -> Report:
    cache, key = Cache(unit.settings.root / CACHE), _key(unit)
    digests = {str(path): of_file(path) for path in unit.files}
    report = _still_true(cache.get(key), digests)
    if report is None:
        report, used = pipeline.checked(unit.files, unit.settings)
        others = {path: of_file(path) for path in sorted(used.difference(map(os.path.abspath, digests)))}
        cache.put(key, {"files": digests, "used": others, "report": to_plain(report)})
    return report


def _still_true(entry: Any, digests: Mapping[str, str]) -> Report | None:
    """The report of an entry, unless a file that it depends on has changed, come or gone, or it is not ours."""
    try:
        if entry["files"] == digests and all(of_file(path) == digest for path, digest in entry["used"].items()):
            return from_plain(Report, entry["report"])
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    return None


def _key(unit: Unit) -> str:
    return digest(os.getcwd(), repr(unit.settings), of_the_engine(unit.settings), *map(str, unit.files))
