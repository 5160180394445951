"""One remedy a module: `apply(patches, used, **parameters)` puts it in place and calls `used()` when it takes effect."""

from typing import Callable

Used = Callable[[], None]
