"""What linking finds in scripts: training loops, optimizers, losses, model classes, command line options."""

from .acts import Act, Schedule, Summand
from .loaders import Loader, Sampler
from .loops import Evaluation, TrainingLoop
from .losses import Decision, Loss
from .models import Layer, Mask, Model, Operation
from .optimizers import Average, Optimizer
from .settings import Option, Setting
from .subjects import MADE, made_in, path_of, within

__all__ = [
    "MADE",
    "Act",
    "Average",
    "Decision",
    "Evaluation",
    "Layer",
    "Loader",
    "Loss",
    "Mask",
    "Model",
    "Operation",
    "Optimizer",
    "Option",
    "Sampler",
    "Schedule",
    "Setting",
    "Summand",
    "TrainingLoop",
    "made_in",
    "path_of",
    "within",
]
