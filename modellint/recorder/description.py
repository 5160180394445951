"""What is known of a run at any time, as records: its files and device, its models, parameters and bystanders."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

from . import surroundings
from .bystanders import BystanderWatch
from .roster import Roster
from .tensors import quiet
from .track import Track


def describe(tracks: List[Track], roster: Roster, bystanders: BystanderWatch) -> Iterator[Dict[str, Any]]:
    yield {"kind": "files", "files": surroundings.source_files()}
    if tracks:
        device = surroundings.device(parameter for track in tracks for parameter in track.parameters())
        yield {"kind": "environment", "environment": {**surroundings.versions(), "device": device}}
        for track in tracks:
            yield {"kind": "reached", "optimizer": track.index, "backwards": track.backwards}
        with quiet():
            yield from roster.describe(tracks)
            asked = list(bystanders.describe(roster.owners(tracks)))
        yield {"kind": "bystanders", "bystanders": asked}
