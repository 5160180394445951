"""Regular expressions that are compiled when they are first used: most of a rule's never are."""

from __future__ import annotations

import re
from typing import Any, cast


class _Pattern:
    def __init__(self, *written: Any) -> None:
        self._written = written

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._written), name)
        setattr(self, name, found)
        return found


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    return cast("re.Pattern[str]", _Pattern(text, flags))
