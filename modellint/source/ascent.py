"""Whether what a script trains goes up what is differentiated, not down."""

from __future__ import annotations

from modellint.source.code import Event
from modellint.source.script import Script


def ascends(script: Script) -> bool:
    """Whether an optimizer maximises, or gradients are negated: the sign of a loss then tells nothing."""
    given = (optimizer.call.argument(None, "maximize") for optimizer in script.trainers)
    maximised = any(value is not None and value.constant is not False for value in given)
    return maximised or any(_is_turned(event) for function in script.functions for event in function.events)


def _is_turned(event: Event) -> bool:
    """`p.grad.neg_()`, `p.grad *= -1`, `p.grad = -p.grad`."""
    value = event.value
    if value is None or "grad" not in f"{event.name} {value.name}":
        return False
    if event.kind == "call":
        return value.name.endswith(("grad.neg_", "grad.mul_", "grad.data.neg_", "grad.data.mul_"))
    return event.name.endswith((".grad", ".grad.data")) and "-" in str(value)
