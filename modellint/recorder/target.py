"""Runs some ordinary training steps of what a factory returns: `target.py pkg.module:factory`, in a watched process."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from typing import Any, Tuple


def main(name: str) -> None:
    importlib.import_module("torch")  # the recorder attaches itself
    loop, orders = (importlib.import_module("modellint_recorder." + part) for part in ("loop", "orders"))
    given = parts(load(name))
    try:
        loop.train(orders.recorder, *given)
    except loop.LossError as error:
        sys.exit(str(error))


def load(name: str) -> Any:
    """What the factory `pkg.module:factory` returns; it is looked for below the current directory first."""
    frames = importlib.import_module("modellint_recorder.frames")
    module, colon, function = name.partition(":")
    if not colon:
        sys.exit("a target is named pkg.module:factory, not %r" % name)
    sys.path[0] = os.getcwd()  # it was the folder of this file
    try:
        factory: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not error.name or not ("%s." % module).startswith("%s." % error.name):
            raise
        sys.exit("there is no module %r, neither below %s nor installed" % (error.name, os.getcwd()))
    for part in function.split("."):
        factory = getattr(factory, part, None)
    if not callable(factory):
        sys.exit("%s has no factory %r" % (getattr(sys.modules[module], "__file__", None) or module, function))
    code = getattr(inspect.unwrap(factory), "__code__", None)
    if code is not None:
        frames.otherwise.update(path=frames.shown(code.co_filename), line=code.co_firstlineno)
    return factory()


def parts(target: Any) -> Tuple[Any, ...]:
    """(model, batch, loss, optimizer) of a mapping or of an object with such attributes."""
    names = ("model", "batch", "loss", "optimizer")
    held = target if isinstance(target, Mapping) else {name: getattr(target, name, None) for name in names}
    found = tuple(held.get(name) for name in names)
    if not callable(getattr(found[0], "named_parameters", None)) or found[1] is None:
        told = ", ".join(name for name, value in zip(names, found) if value is not None) or "no part"
        sys.exit("the factory gave %s with %s: a model and a batch are needed" % (type(target).__name__, told))
    return found


if __name__ == "__main__":
    main(sys.argv[1])
