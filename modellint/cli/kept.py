"""Runs that are kept by name, as the reference of a target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from modellint.core.errors import UsageError
from modellint.core.plain import to_plain

if TYPE_CHECKING:
    from modellint.measure.run import Run

HOME = Path(".modellint")


def keep(run: Path, name: str | None = None) -> Path:
    """Where it is kept. Raises UsageError for what is no recorded run."""
    found = load(str(run))
    script = next((Path(word).stem for word in found.command if word.endswith(".py")), "run")
    place = HOME / f"{name or script}.json"
    if place.parent != HOME:
        raise UsageError(f"{name}: a name, not a path")
    HOME.mkdir(exist_ok=True)
    place.write_text(json.dumps(to_plain(found), allow_nan=False), encoding="utf-8")
    return place


def load(name: str) -> Run:
    """A run by the path of its folder or file, or by the name under which it is kept."""
    from modellint.measure import nodes

    path = Path(name) if Path(name).exists() else HOME / f"{name}.json"
    try:
        return nodes.load(path)
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no recorded run, and none is kept under this name") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{name}: no recorded run: {error}") from error
