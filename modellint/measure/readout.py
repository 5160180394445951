"""What a run measured of its readout: where it is, its gradients, the size of the features that enter it."""

from __future__ import annotations

import math

from modellint.core.diagnostic import Location

from .run import Run
from .step import Step
from .trajectory import norms


def may_be_at(run: Run, place: Location) -> bool:
    """Whether the readout that was measured may be the one at `place`."""
    module, line = (run.model.readout, run.model.readout_location.line) if run.model else (None, None)
    if place.module is not None and module is not None:
        return place.module == module
    return None in (line, place.line) or line == place.line


def gradient_norms(run: Run) -> tuple[float | None, ...]:
    """The norm of the readout's gradient at each step of the optimizer that holds it; empty if it is not known."""
    readout = [parameter for parameter in run.parameters if parameter.role == "readout"]
    return norms(run.of(readout[0].optimizer or 0), [p.name for p in readout]) if readout else ()


def feature_size(step: Step) -> float | None:
    """The root mean square of what enters the readout: 1 behind a norm."""
    values = step.features.values if step.features else None
    return None if values is None or values.std is None else math.hypot(values.std, values.mean or 0.0)
