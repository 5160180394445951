"""What a program is given: numbers in its calls, options on its command line."""

from __future__ import annotations

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass
from modellint.source.code import Value


@dataclass(frozen=True, slots=True)
class Setting:
    """A number that a call is given, and where it is written: in the call, a constant, or the default of an option."""

    value: float
    location: Location = Location()


@dataclass(frozen=True, slots=True)
class Option:
    """An option of the command line; `used` is False only if no file of the project reads it."""

    name: str
    call: Value
    used: bool = True

    @property
    def location(self) -> Location:
        return self.call.location
