"""A remedy is applied to the running script through hooks: what a re-run tries, with no edit of the user's files."""

from __future__ import annotations

import importlib
from typing import Any, Callable, Dict, List

from .patches import Patches

Write = Callable[[Dict[str, Any]], None]


def apply(write: Write, remedies: List[Dict[str, Any]]) -> None:
    """Each of `remedies` is a name and its parameters; `write` is told the first time that one takes effect.

    A name is that of a module of `remedies/`, or `package.module:function` of the user's own. They are put in place
    before the recorder's watches, which so see the calls as the user made them, and the gradients as they are applied.
    """
    for remedy in remedies:
        given = dict(remedy)
        name = given.pop("name")
        _function(name)(Patches(), _Used(write, name), **given)


class _Used:
    def __init__(self, write: Write, name: str) -> None:
        self._write, self._name, self._told = write, name, False

    def __call__(self) -> None:
        if not self._told:
            self._told = True
            self._write({"kind": "remedy", "name": self._name})


def _function(name: str) -> Callable[..., None]:
    module, colon, function = name.partition(":")
    if not colon:
        module, function = "%s.remedies.%s" % (__package__, name.replace("-", "_")), "apply"
    found: Callable[..., None] = getattr(importlib.import_module(module), function)
    return found
