"""Does the model compute the same twice in evaluation mode, and which random functions does it call there?"""

from __future__ import annotations

from typing import Any, Dict

from .chance import Draws
from .specimen import Specimen


def examine(specimen: Specimen) -> Dict[str, Any]:
    """`found`: two computations that differ in the random state alone differ; `draws` says what drew."""
    draws = Draws()
    usual = specimen.usual()
    with draws:
        again = specimen.run({}, seed=1)
    differences = [float(specimen.change(one, other).max()) for one, other in zip(usual, again) if one.numel()]
    return {"found": max(differences, default=0.0) > 0, "value": max(differences, default=None), "draws": draws.seen}
