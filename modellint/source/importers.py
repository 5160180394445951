"""Files that hold no word of a rule and so are not parsed, but call what trains: found by their bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from modellint.core.pattern import pattern


def calling(paths: Iterable[Path], data: Callable[[Path], bytes], modules: Mapping[str, str]) -> Iterator[Path]:
    """Those of `paths` that call one of some names, or name a class, and mention its module."""
    calls = [(module.encode(), name.encode(), _call(name)) for name, module in modules.items()]
    for path in paths if modules else ():
        content = data(path)
        if any(module in content and name in content and call.search(content) for module, name, call in calls):
            yield path


def _call(name: str) -> re.Pattern[bytes]:
    return pattern(rb"\b%s%s" % (re.escape(name.encode()), rb"\b" if name[0].isupper() else rb"(?=\()"))
