"""What modellint says itself, not by a rule; documented as rules are."""

from __future__ import annotations

from .diagnostic import Severity
from .rule import Rule


class UnreadableFile(Rule):
    """The file (of a notebook: the cell) cannot be read or parsed, so nothing in it was checked.

    Why: a script that Python cannot parse does not run, and whatever else is wrong in it stays unseen.
    Fix: mend the syntax or the encoding that the message names.
    Ignore: leave the file out with `exclude` where it is meant to be broken, such as a template.
    """

    name, code, severity, certain = "unreadable-file", "ML000", Severity.ERROR, True


class UnusedIgnore(Rule):
    """A `# modellint: ignore[...]` comment silences nothing, or names no rule.

    Why: an ignore that outlives its finding hides the next one.
    Fix: delete the comment, or mend the name in it.
    """

    name, code, severity, certain = "unused-ignore", "ML001", Severity.NOTE, True


OWN = (UnreadableFile(), UnusedIgnore())
NAMES = tuple(name for rule in OWN for name in (rule.name, rule.code))
