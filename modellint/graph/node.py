"""One operation of the graph, and the roles it can have in a network."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass, field


class Role(enum.StrEnum):
    INPUT = enum.auto()
    CONSTANT = enum.auto()
    LINEAR = enum.auto()
    CONV = enum.auto()
    NORM = enum.auto()
    ACTIVATION = enum.auto()
    DROPOUT = enum.auto()
    SOFTMAX = enum.auto()
    LOG_SOFTMAX = enum.auto()
    ATTENTION = enum.auto()
    RECURRENT = enum.auto()
    EMBEDDING = enum.auto()
    POOL = enum.auto()
    REDUCE = enum.auto()
    SCATTER = enum.auto()
    ADD = enum.auto()
    MUL = enum.auto()
    RESHAPE = enum.auto()
    INDEX = enum.auto()
    MASK = enum.auto()
    CONCAT = enum.auto()
    DETACH = enum.auto()
    LOSS = enum.auto()
    OTHER = enum.auto()


LAYERS = frozenset({Role.LINEAR, Role.CONV, Role.RECURRENT, Role.EMBEDDING})
BOUNDED = frozenset({"sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid", "relu6", "lstm", "gru"})


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. `inputs` are node names in the order of the arguments: a loss has its prediction first."""

    name: str
    role: Role = Role.OTHER
    inputs: tuple[str, ...] = ()
    operation: str = ""  # torch's name: "relu", "cross_entropy"
    parameters: tuple[str, ...] = ()  # dotted names of the parameters that it reads, through any function of them
    factors: tuple[
        tuple[str, ...], ...
    ] = ()  # those of them that are multiplied with each other beforehand, as in LoRA
    shape: tuple[int, ...] = ()
    dtype: str = ""
    bounded: bool = False  # its result is bounded whatever comes in
    gradient: bool = True  # its result requires a gradient
    dim: int | None = None  # of a softmax or a reduction, as written
    settings: Mapping[str, Any] = field(default_factory=dict)  # literal arguments: "p", "training", "scale", "other"
    std: float | None = None  # of a floating-point tensor that enters the model, and of a product of two activations
    low: float | None = None  # the range of a floating-point target
    high: float | None = None
    module_class: str = ""
    foreign: bool = False  # made inside a module whose class is installed code
    location: Location = field(default_factory=Location)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the model, whether or not the loss reaches it."""

    name: str
    shape: tuple[int, ...] = ()
    requires_grad: bool = True
    zero: bool = False  # all zero in the recorded step
    called: bool = True  # its module ran
    optimizer: int | None = None
    reached: bool | None = None  # whether any watched backward() gave it a gradient; None: not watched
    module_class: str = ""
    foreign: bool = False
    location: Location = field(default_factory=Location)
