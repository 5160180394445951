"""Writes the graph of what a factory returns: `standing.py pkg.module:factory FILE`, in a process of its own."""

from __future__ import annotations

import importlib
import json
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec


def main(name: str, file: str) -> None:
    """{"graph", "way", "problems", "code"}: the plain graph, and the torch.fx graph as torch prints it.

    Or {"error", "location"}: what the factory raised, or why its model cannot be recorded.
    """
    frames, target, still = (importlib.import_module("modellint_recorder." + part) for part in _PARTS)
    try:
        model, batch, loss, _ = target.parts(target.load(name))
        taken = still.take(model, batch, loss)
        content = {"graph": taken.plain, "way": taken.way, "problems": taken.problems, "code": str(taken.module.graph)}
    except (Exception, SystemExit) as error:
        place = frames.place_of_error(error, error.__traceback__)
        kind = "" if isinstance(error, SystemExit) else type(error).__name__ + ": "
        content = {"error": kind + str(error), "location": place}
    with open(file, "w", encoding="utf-8") as out:
        json.dump(content, out)


_PARTS = ("frames", "target", "still")


def _recorder() -> None:
    """The recorder under the name that it has where it is injected: modellint need not be installed here."""
    spec = ModuleSpec("modellint_recorder", None, is_package=True)
    spec.submodule_search_locations = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules[spec.name] = module_from_spec(spec)


if __name__ == "__main__":
    _recorder()
    main(*sys.argv[1:])
