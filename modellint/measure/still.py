"""A target to its graph, without a training step: recorded in a process of the user's interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modellint.core.diagnostic import Location
from modellint.core.errors import UsageError
from modellint.core.plain import from_plain
from modellint.core.record import dataclass

STANDING = Path(__file__).resolve().parent.parent / "recorder" / "standing.py"


@dataclass(frozen=True, slots=True)
class Still:
    """`graph` as modellint.graph reads it; `code` is the torch.fx graph as torch prints it; `way`: meta, cpu or export."""

    graph: Mapping[str, Any]
    way: str
    code: str
    problems: tuple[str, ...] = ()  # of the ways that were tried before


def take(name: str, python: str | None = None, seconds: float = 600.0) -> Still:
    """The graph of what the factory `pkg.module:function` returns. Raises UsageError where there is none."""
    with tempfile.TemporaryDirectory(prefix="modellint-") as folder:
        file = Path(folder) / "graph.json"
        command = [python or sys.executable, str(STANDING), name, str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise UsageError(f"{name}: no graph after {seconds:.0f} seconds") from None
        except OSError as error:
            raise UsageError(f"{command[0]} cannot be run: {error.strerror}") from None
        if not file.exists():
            raise UsageError(
                f"{name}: {(done.stderr.strip().splitlines() or ['the process ended without a word'])[-1]}"
            )
        content = json.loads(file.read_text(encoding="utf-8"))
    if "error" in content:
        place = from_plain(Location, content["location"])
        raise UsageError(f"{name}: {content['error']}" + (f" at {place}" if place.path else ""))
    return from_plain(Still, content)
