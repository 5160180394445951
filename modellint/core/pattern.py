"""Regular expressions that are compiled when they are first used, and one for all that are written alike: most never are."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, AnyStr, cast


class _Pattern:
    def __init__(self, *written: Any) -> None:
        self._written = written

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._written), name)
        setattr(self, name, found)
        return found


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    return cast("re.Pattern[AnyStr]", _shared(text, flags))


_shared = cache(_Pattern)


def used(name: str) -> tuple[str, re.Pattern[bytes]]:
    """A trigger word: a name that code calls or hands on, and not one that it defines, quotes or lists as a key."""
    return name, pattern(rb"%s(?<!\w%s)(?<!def %s)(?![\w\"':])" % ((name.encode(),) * 3))
