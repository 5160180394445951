"""The remedies there are: what each is called, how large a change it is, and the parameters that a run suggests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modellint.core.record import dataclass
from modellint.measure.cast import Model
from modellint.measure.run import Run
from modellint.measure.trajectory import norms, reference

from .outcome import trained

CALL, NUMBER, OBJECTIVE, STRUCTURE = 1, 2, 3, 4  # what has to be changed: from a call put right to the model itself
USUAL = {"SGD": 1e-2, "RMSprop": 1e-3, "Adagrad": 1e-2}
ADAM = 1e-3
SMALL = 0.005


@dataclass(frozen=True, slots=True)
class Offer:
    """A remedy with its parameters, as a trial may apply it."""

    name: str
    label: str
    size: int
    parameters: Mapping[str, Any]
    balances: bool = False  # it moves the loss itself: judged by balanced accuracy

    @property
    def applied(self) -> dict[str, Any]:
        return {"name": self.name, **self.parameters}


Offers = Iterator[Offer]


def offers(name: str, run: Run) -> Offers:
    """The rungs of a remedy, the smallest change first: the next is tried where one does not cure.

    A name with a colon is the user's own remedy: `package.module:function`.
    """
    if ":" in name:
        yield Offer(name, name.partition(":")[2].replace("_", " "), OBJECTIVE, {})
    elif name in _MADE:
        yield from _MADE[name](run)
    elif name in _PLAIN:
        yield Offer(name, _PLAIN[name], CALL, {})


def _clip(run: Run) -> Offers:
    calm = reference(norms(trained(run)), from_first_step=True)
    bound = float(f"{calm:.2g}") if calm else 1.0
    yield Offer("clip", f"clip at {bound:g}, the norm of calm steps", NUMBER, {"bound": bound})
    if bound > 1.0:
        yield Offer("clip", "clip at 1", NUMBER, {"bound": 1.0})


def _lower_rate(run: Run) -> Offers:
    factors = [0.1, 0.01]
    optimizer = run.optimizers[0] if run.optimizers else None
    if optimizer and optimizer.learning_rate:
        usual = USUAL.get(optimizer.name, ADAM) / optimizer.learning_rate
        factors += [usual] if usual < SMALL else []
    for factor in factors:
        yield Offer("scale-lr", f"learning rate / {1 / factor:,.0f}", NUMBER, {"factor": factor})


def _normalize(run: Run) -> Offers:
    if run.model and run.model.readout:
        label = f"normalize what enters `{run.model.readout}`"
        yield Offer("normalize-readout", label, STRUCTURE, {"model": _known(run.model), "path": run.model.readout})


def _weights(run: Run) -> Offers:
    if run.classes and run.label_counts:
        given = {"counts": {str(label): count for label, count in run.label_counts.items()}, "classes": run.classes}
        yield Offer("weight-classes", "weight the classes by inverse frequency", OBJECTIVE, given, balances=True)


def _focal(run: Run) -> Offers:
    yield Offer("focal-loss", "focal loss", OBJECTIVE, {}, balances=True)


def _higher_rate(run: Run) -> Offers:
    for factor in (10.0, 100.0):
        yield Offer("scale-lr", f"learning rate * {factor:,.0f}", NUMBER, {"factor": factor})


def _warm_up(run: Run) -> Offers:
    steps = max(10, run.requested_steps)
    yield Offer("warm-up", f"learning rate that rises over {steps} steps", NUMBER, {"steps": steps})


def _of_model(name: str, label: str, size: int) -> Callable[[Run], Offers]:
    def made(run: Run) -> Offers:
        if run.model:
            yield Offer(name, label, size, {"model": _known(run.model)})

    return made


def _known(model: Model) -> dict[str, Any]:
    return {"name": model.name, "parameters": model.parameters}


_PLAIN = {
    "zero-grad": "clear the gradients after each step",
    "keep-gradients": "clear the gradients after step(), not before",
    "move-clip": "the same clip, right before step()",
    "unscale": "unscale the gradients before step()",
    "drop-softmax": "undo the softmax before the loss",
    "log-probabilities": "give the loss log-probabilities",
    "flip-sign": "descend instead of ascending",
    "train-mode": "keep the model in training mode",
    "reshape-target": "give the target the shape of the prediction",
    "shuffle": "shuffle the training data",
}
_MADE: Mapping[str, Callable[[Run], Offers]] = {
    "clip": _clip,
    "lower-lr": _lower_rate,
    "raise-lr": _higher_rate,
    "warm-up": _warm_up,
    "weight-classes": _weights,
    "focal-loss": _focal,
    "normalize-readout": _normalize,
    "standardise-input": _of_model("standardise-input", "standardise the input", STRUCTURE),
    "unfreeze": _of_model("unfreeze", "train every parameter", CALL),
    "re-initialise": _of_model("re-initialise", "initialise constant weights anew", CALL),
}
