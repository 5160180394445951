"""Short hashes of what findings depend on: files, the settings, the rules, and modellint itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import source_hash
from pathlib import Path

from . import __version__
from .core import rulefile
from .core.config import Settings

ENGINE = Path(__file__).parent


def digest(*parts: str) -> str:
    return _hex("\0".join(parts).encode("utf-8", "surrogatepass"))


def of_file(path: str | Path) -> str:
    """Of its content; the empty text for a file that is not there or cannot be read."""
    try:
        with open(path, "rb") as file:
            return _hex(file.read())
    except OSError:
        return ""


def _hex(data: bytes) -> str:
    """What Python itself knows the source of a compiled file by, and the length."""
    return f"{source_hash(data).hex()}{len(data):x}"


def of_the_engine(settings: Settings) -> str:
    """Of modellint and the rules; a checkout changes under the same version, so the files count by age and size."""
    places = (ENGINE, *rulefile.places(settings.rule_files))
    files = (f"{path}:{stat.st_size}:{stat.st_mtime_ns}" for place in places for path, stat in _stats(place))
    return digest(__version__, str(sys.implementation.cache_tag), *files)


def _stats(place: Path) -> Iterator[tuple[str, os.stat_result]]:
    if place.is_file():
        yield str(place), place.stat()
    for folder, names, files in os.walk(place):
        names.sort()
        paths = (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))
        yield from ((path, os.stat(path)) for path in paths)
