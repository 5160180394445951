"""The Run: everything a probe measured, as plain data that rules judge and `run.json` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modellint.core.diagnostic import Location, Problem
from modellint.core.record import dataclass, field, replace

from .cast import Bystander, Follower, Loss, Model, Optimizer, Parameter
from .step import Step

RUN_SCHEMA = "modellint-run/1"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Calls of the trained model with different batches that no backward() followed."""

    step: int = 0  # steps that had been made
    graphs: bool = False  # gradients were enabled: a graph was built of each batch
    active: tuple[str, ...] = ()  # dropouts and batch norms that were in training mode
    location: Location = Location()


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the run that was watched; the first begins with its first step."""

    index: int = 0
    phase: str = "start"  # what opened it: "optimizer", "epoch", "evaluation", "requires_grad"
    step: int = 0  # steps that had been made


@dataclass(frozen=True, slots=True)
class Draw:
    """A random function that a model calls in evaluation mode."""

    name: str
    location: Location = Location()


@dataclass(frozen=True, slots=True)
class Examination:
    """What a copy of the model did with its last inputs, in evaluation mode, after the last watched step."""

    name: str  # "batch-mixing", "causality", "copying", "padding", "determinism" or "capacity"
    found: bool | None = None  # whether the fault shows; None: it was not made, and `reason` says why
    reason: str = ""
    value: float | None = None  # mixing: part of the other samples that change; capacity: loss / guessing; else: change
    sure: bool = True  # False: it may be by design
    draws: tuple[Draw, ...] = ()
    origin: Location = Location()  # the user's line that calls the module which makes the fault
    location: Location = Location()  # the class of the model


@dataclass(frozen=True, slots=True)
class Run:
    """A probe of one command (or of one model in process)."""

    steps: tuple[Step, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    optimizers: tuple[Optimizer, ...] = ()
    model: Model | None = None
    loss: Loss | None = None
    classes: int | None = None
    label_counts: Mapping[int, int] = field(default_factory=dict)  # over all watched rows of the class loss
    places: Mapping[str, Location] = field(default_factory=dict)  # the lines of "model", "loss", "backward", "step"
    examinations: tuple[Examination, ...] = ()
    graph: Mapping[str, Any] | None = None  # the plain Graph, as modellint.graph reads it
    files: tuple[str, ...] = ()  # the user's own source files that the run executed
    written: tuple[str, ...] = ()  # files that the run created
    discarded: Mapping[str, str] = field(
        default_factory=dict
    )  # in a sandbox: "created", "changed" or "deleted", by path
    invented: tuple[str, ...] = ()  # data sets that were not there: what depends on them says nothing
    network: tuple[str, ...] = ()  # host:port of others than this machine that the run turned to
    command: tuple[str, ...] = ()
    requested_steps: int = 0  # of each window
    windows: tuple[Window, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    followers: tuple[Follower, ...] = ()
    bystanders: tuple[Bystander, ...] = ()
    ranks: int = 1  # processes that train together; norms are those over all of them
    remedies: tuple[str, ...] = ()  # that a re-run was asked to try and that took effect
    status: str = "completed"  # "completed", "stopped" (before a file was overwritten), "failed", "hung", "no step"
    problem: Problem | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)  # "start", "steps", "total"
    environment: Mapping[str, str] = field(default_factory=dict)  # python, torch, device
    folder: str | None = None  # where run.json, the script's output and the per-process files lie
    schema: str = RUN_SCHEMA

    def of(self, optimizer: int) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.optimizer == optimizer)

    def examined(self, name: str) -> Examination:
        return next((e for e in self.examinations if e.name == name), Examination(name, reason="no step was the last"))

    def place(self, name: str, module: str | None = None) -> Location:
        """The user's line of "model", "loss", "backward" or "step", as far as it is known, and a module path."""
        known = (
            self.places.get(name) or self.places.get("backward") or self.places.get("grad") or Location()
        )  # a loss may be written by hand
        return replace(known, module=module)
