"""Files that hold no word of a rule and so are not parsed, but call what trains: found by their bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path


def calling(paths: Iterable[Path], data: Callable[[Path], bytes], modules: Mapping[str, str]) -> Iterator[Path]:
    """Those of `paths` that call one of some names, or name a class, and mention its module."""
    names = (re.escape(name.encode()) + (rb"\b" if name[0].isupper() else rb"(?=\()") for name in modules)
    call = re.compile(rb"\b(%s)" % b"|".join(names))
    for path in paths if modules else ():
        content = data(path)
        if any(modules[name.decode()].encode() in content for name in set(call.findall(content))):
            yield path
