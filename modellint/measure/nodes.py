"""A recorded run read again: from its file, from its folder, or from the folders of all the nodes that it ran on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from modellint.core.plain import from_plain

from . import merge, ranks, records
from .run import Run


def load(path: Path) -> Run:
    """Raises OSError or ValueError when it cannot be read, or when folders below `path` hold runs of their own."""
    if path.is_dir() and not (path / merge.RUN_FILE).exists():
        folders = sorted(file.parent for file in path.glob(f"*/{merge.RUN_FILE}"))
        if folders:
            return _together(path, folders)
    file = path / merge.RUN_FILE if path.is_dir() else path
    return from_plain(Run, json.loads(file.read_text(encoding="utf-8")))


def _together(path: Path, folders: Sequence[Path]) -> Run:
    """Each node has merged its own ranks; what they wrote is merged anew."""
    runs = [load(folder) for folder in folders]
    journals = [journal for folder in folders for journal in records.read(folder)]
    if ranks.world(records.main(journals)) < 2:
        raise ValueError(f"{path} holds {len(runs)} runs that did not train together: name one of them")
    failed = next((run for run in runs if run.problem), runs[0])
    return merge.merge(
        journals,
        command=failed.command,
        requested_steps=failed.requested_steps,
        status=failed.status,
        problem=failed.problem,
        written=tuple(dict.fromkeys(file for run in runs for file in run.written)),
        seconds=failed.seconds,
        folder=str(path),
    )
