"""The vocabulary of fixes: what a rule may say about changing the source, with places only and no syntax tree.

`text` is code, in which `{receiver}` (of `optimizer.step()`: `optimizer`), `{0}` (the first positional argument),
`{name}` (a keyword argument), `{0|name}` (either) and `{whole}` stand for parts of a call as they are written. An edit
that does not fit the source (unpacked arguments, names that a move would confuse, comments that would be lost) is
refused, and nothing is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .diagnostic import Edit

if TYPE_CHECKING:
    from .rule import Placed


def move(what: Placed, *, before: Placed | None = None, after: Placed | None = None) -> Edit:
    """The statement that holds `what`, to the statement of the same suite that holds the other place."""
    target, side = (before, "before") if before is not None else (after, "after")
    assert target is not None
    return Edit("move", what.location, target.location, side)


def delete(what: Placed) -> Edit:
    """The statement that holds `what`."""
    return Edit("delete", what.location)


def insert(
    text: str,
    *,
    of: Placed,
    before: Placed | None = None,
    after: Placed | None = None,
    first_in: Placed | None = None,
) -> Edit:
    """A statement with parts of the call `of`: into its suite, by the statement that holds a place, or into a loop."""
    sides = {"before": before, "after": after, "first in": first_in}
    side, target = next((side, place) for side, place in sides.items() if place is not None)
    return Edit("insert", of.location, target.location, side, text)


def restate(what: Placed, text: str) -> Edit:
    """The statement that is `what`, and nothing else, or that assigns it, by the statement `text`."""
    return Edit("restate", what.location, text=text)


def wrap(what: Placed, text: str) -> Edit:
    """The statement that holds `what` into a `with` block of the context `text`."""
    return Edit("wrap", what.location, text=text)


def replace(what: Placed, text: str, *, into: Placed | None = None, monotone: bool = False) -> Edit:
    """The expression `what` by `text`; with `into` only if the value is used by nothing but the call `into`.

    If the text is `monotone` in it, what only asks for the largest of the values may use it too.
    """
    return Edit(
        "replace", what.location, into.location if into is not None else None, text=text, name="monotone" * monotone
    )


def rename(call: Placed, name: str) -> Edit:
    """The function that is called: its last name, or all of it if `name` is dotted."""
    return Edit("rename", call.location, text=name)


def argument(value: Placed, name: str, text: str = "") -> Edit:
    """The argument that is given as `value` becomes the keyword argument `name`; `text` is its new value, if any."""
    return Edit("argument", value.location, text=text, name=name)


def add(call: Placed, name: str, text: str) -> Edit:
    """One more keyword argument."""
    return Edit("add", call.location, name=name, text=text)


def swap(one: Placed, other: Placed) -> Edit:
    """Two values, such as two arguments of a call."""
    return Edit("swap", one.location, other.location)


def remove(item: Placed) -> Edit:
    """An argument of a call, or an item of a list or tuple."""
    return Edit("remove", item.location)
