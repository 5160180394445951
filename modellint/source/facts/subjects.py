"""What an act concerns, by its name: the places where it is made, `path:line:column`, joined by `>` on the way there."""

from __future__ import annotations

from modellint.core.diagnostic import Location
from modellint.core.pattern import pattern

MADE = pattern(r":\d+:\d+$")  # a subject that is called after the place where it is made, not by its name


def path_of(subject: str) -> str:
    """The file in which an object is made that is called after that place; some other text for a name."""
    return subject.rpartition(">")[2].rsplit(":", 2)[0]


def made_in(subject: str, loop: Location) -> bool:
    """Whether one of the calls that made a subject, after whose places it is named, lies in a loop: each pass makes it anew."""
    for part in subject.split(">"):
        path, _, line = part.rpartition(":")[0].rpartition(":")
        if path == loop.path and line.isdigit() and (loop.line or 0) <= int(line) <= (loop.end_line or 0):
            return True
    return False


def within(part: str, whole: str) -> bool:
    """Modules are called after the module in which they are made, or whose attribute they are."""
    return part == whole or part.startswith((f"{whole}>", f"{whole}."))
