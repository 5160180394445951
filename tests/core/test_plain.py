from __future__ import annotations

import json
import math

from modellint.core.diagnostic import Location
from modellint.core.plain import from_plain, to_plain
from modellint.measure.quantities import Features
from modellint.measure.run import Run
from modellint.measure.step import Clip, Step


def test_a_run_survives_strict_json() -> None:
    step = Step(
        loss=math.inf,
        gradients={"w": 1.5, "b": math.nan},
        clips=(Clip(bound=1.0, location=Location("t.py", 3)),),
        features=Features(rows=2, width=3),
        norms_at_backward=(0.0, -math.inf),
    )
    run = Run((step,), label_counts={0: 3, 7: 1}, places={"loss": Location("t.py", 9)}, graph={"nodes": [1]})
    again = from_plain(Run, json.loads(json.dumps(to_plain(run), allow_nan=False)))
    assert math.isnan(again.steps[0].gradients["b"] or 0)
    assert again.steps[0].norms_at_backward == (0.0, -math.inf)
    assert (again.label_counts, again.places, again.graph) == (run.label_counts, run.places, run.graph)
    assert again.steps[0].clips == step.clips
    assert again.steps[0].loss == math.inf


def test_unknown_keys_are_ignored_and_missing_ones_take_defaults() -> None:
    assert from_plain(Location, {"path": "t.py", "from_a_later_version": 1}) == Location("t.py")
