"""Small healthy trainings of many families, and faults to inject into them: what calibration.py probes.

python families.py NAME [--seed N] [--fault NAME]
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Loss = Callable[[Tensor, Any], Tensor]


@dataclass
class Training:
    """A model, batches of (inputs, targets) and a loss over (output, targets)."""

    model: nn.Module
    batch: Callable[[], tuple[Any, Any]]
    loss: Loss
    optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW
    lr: float = 1e-3
    settings: dict[str, Any] = field(default_factory=dict)
    clip: float | None = None
    warmup: int = 0
    micro_batches: int = 1
    after: Callable[[int], None] = lambda step: None  # the optimizer's step
    held: Callable[[Any], Any] = lambda model: model.parameters()  # what the optimizer is given


FAMILIES: dict[str, Callable[[], Training]] = {}


def family(make: Callable[[], Training]) -> Callable[[], Training]:
    FAMILIES[make.__name__] = make
    return make


def labelled(classes: int, size: int, width: int, spread: float = 1.0, shares: Tensor | None = None) -> Any:
    centres = torch.randn(classes, width)
    shares = torch.ones(classes) if shares is None else shares

    def batch() -> tuple[Tensor, Tensor]:
        labels = torch.multinomial(shares, size, replacement=True)
        return centres[labels] + spread * torch.randn(size, width), labels

    return batch


def images(classes: int, size: int, side: int = 12) -> Any:
    flat = labelled(classes, size, side * side)

    def batch() -> tuple[Tensor, Tensor]:
        inputs, labels = flat()
        return inputs.view(size, 1, side, side), labels

    return batch


def tokens(vocabulary: int, size: int, length: int, next_token: bool = True) -> Any:
    table = torch.randn(vocabulary, vocabulary).mul(2).softmax(1)
    zipf = 1 / torch.arange(1, vocabulary + 1)

    def batch() -> tuple[Tensor, Tensor]:
        rows = [torch.multinomial(zipf, size, replacement=True)]
        for _ in range(length):
            rows.append(torch.multinomial(table[rows[-1]], 1).squeeze(1))
        text = torch.stack(rows, 1)
        return text[:, :-1], text[:, 1:] if next_token else text.sum(1) % 4

    return batch


def per_token(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def mlp(*widths: int, norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), *([nn.LayerNorm(after)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers[: -2 if norm else -1])


@family
def plain_mlp() -> Training:
    return Training(mlp(32, 64, 64, 10), labelled(10, 64, 32), functional.cross_entropy)


@family
def small_batch_mlp() -> Training:
    return Training(
        mlp(32, 64, 50), labelled(50, 10, 32), functional.cross_entropy, torch.optim.SGD, 0.05, {"momentum": 0.9}
    )


@family
def normed_mlp() -> Training:
    return Training(mlp(32, 128, 128, 20, norm=True), labelled(20, 32, 32), functional.cross_entropy, clip=1.0)


@family
def weighted_imbalanced() -> Training:
    shares = torch.tensor([0.9, 0.06, 0.04])
    loss = nn.CrossEntropyLoss(weight=1 / (3 * shares))
    return Training(mlp(16, 64, 3), labelled(3, 64, 16, shares=shares), loss)


@family
def balanced_binary() -> Training:
    return Training(mlp(16, 64, 2), labelled(2, 32, 16), functional.cross_entropy, torch.optim.SGD, 0.1)


@family
def batchnorm_cnn() -> Training:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    return Training(
        model, images(10, 32), functional.cross_entropy, torch.optim.SGD, 0.1, {"momentum": 0.9, "weight_decay": 5e-4}
    )


@family
def smoothed_cnn() -> Training:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), mlp(8 * 25, 64, 10))
    return Training(model, images(10, 64), nn.CrossEntropyLoss(label_smoothing=0.1), torch.optim.Adam)


class ZeroGamma(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width))
        nn.init.zeros_(self.body[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


@family
def zero_gamma_resnet() -> Training:
    model = nn.Sequential(nn.Linear(32, 64), *(ZeroGamma(64) for _ in range(6)), nn.Linear(64, 10))
    return Training(
        model, labelled(10, 64, 32), functional.cross_entropy, torch.optim.SGD, 0.05, {"momentum": 0.9}, warmup=5
    )


@family
def zero_readout() -> Training:
    model = mlp(32, 64, 10)
    nn.init.zeros_(model[-1].weight)
    return Training(model, labelled(10, 64, 32), functional.cross_entropy, warmup=20)


@family
def frozen_backbone() -> Training:
    model = mlp(32, 128, 128, 10)
    model[:4].requires_grad_(False)
    return Training(model, labelled(10, 32, 32), functional.cross_entropy, lr=1e-2)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], vocabulary: int, classes: int, last: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 32)
        self.rnn = kind(32, 64, batch_first=True)
        self.head = nn.Linear(64, classes)
        self.last = last

    def forward(self, text: Tensor) -> Tensor:
        states, _ = self.rnn(self.embedding(text))
        return self.head(states[:, -1] if self.last else states)


@family
def lstm_lm() -> Training:
    model = Recurrent(nn.LSTM, 40, 40, last=False)
    return Training(model, tokens(40, 20, 30), per_token, torch.optim.SGD, 5.0, clip=0.25)


@family
def gru_classifier() -> Training:
    return Training(Recurrent(nn.GRU, 30, 4, last=True), tokens(30, 32, 20, False), functional.cross_entropy, clip=1.0)


@family
def rmsprop_rnn() -> Training:
    model = Recurrent(nn.RNN, 30, 30, last=False)
    return Training(model, tokens(30, 16, 24), per_token, torch.optim.RMSprop, 3e-3, clip=5.0)


class Transformer(nn.Module):
    def __init__(self, vocabulary: int, width: int = 48, tied: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, text: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(text.shape[1])
        return self.head(self.norm(self.blocks(self.embedding(text), mask=mask, is_causal=True)))


@family
def tied_lm() -> Training:
    return Training(Transformer(64), tokens(64, 16, 32), per_token, clip=1.0, warmup=10)


@family
def large_vocabulary_lm() -> Training:
    return Training(Transformer(5000, tied=False), tokens(200, 8, 32), per_token, clip=1.0, warmup=10)


@family
def masked_lm() -> Training:
    batch = tokens(50, 16, 32)

    def masked() -> tuple[Tensor, Tensor]:
        text, _ = batch()
        hidden = torch.rand(text.shape) < 0.15
        return text.masked_fill(hidden, 0), text.masked_fill(~hidden, -100)

    return Training(Transformer(50), masked, per_token, clip=1.0)


@family
def segmentation() -> Training:
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 3, padding=1))

    def batch() -> tuple[Tensor, Tensor]:
        pictures = torch.randn(8, 1, 16, 16)
        return pictures, (functional.avg_pool2d(pictures, 3, 1, 1).squeeze(1) > 0).long()

    return Training(model, batch, functional.cross_entropy)


@family
def regression() -> Training:
    def batch() -> tuple[Tensor, Tensor]:
        inputs = torch.randn(64, 10)
        return inputs, inputs.pow(2).sum(1, keepdim=True) * 0.3 + inputs[:, :1]

    return Training(mlp(10, 64, 64, 1), batch, functional.mse_loss)


@family
def multi_label() -> Training:
    weights = torch.randn(20, 8)

    def batch() -> tuple[Tensor, Tensor]:
        inputs = torch.randn(32, 20)
        return inputs, (inputs @ weights > 2).float()

    return Training(mlp(20, 64, 8), batch, functional.binary_cross_entropy_with_logits)


@family
def autoencoder() -> Training:
    batch = labelled(10, 64, 48)
    return Training(mlp(48, 24, 6, 24, 48), lambda: (batch()[0],) * 2, functional.mse_loss, torch.optim.Adam)


class Contrastive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = mlp(32, 64, 16)

    def forward(self, views: Tensor) -> Tensor:
        first, second = functional.normalize(self.encoder(views), dim=-1).unbind(0)
        return first @ second.T / 0.2


@family
def contrastive() -> Training:
    batch = labelled(32, 32, 32)

    def views() -> tuple[Tensor, Tensor]:
        inputs, _ = batch()
        return torch.stack([inputs, inputs + 0.3 * torch.randn_like(inputs)]), torch.arange(32)

    return Training(Contrastive(), views, functional.cross_entropy)


class Momentum(nn.Module):
    """A contrastive loss against a queue: the positive is always class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = mlp(32, 64, 16)
        self.register_buffer("queue", functional.normalize(torch.randn(256, 16), dim=1))

    def forward(self, views: Tensor) -> Tensor:
        first, second = functional.normalize(self.encoder(views), dim=-1).unbind(0)
        positive = (first * second.detach()).sum(1, keepdim=True)
        return torch.cat([positive, first @ self.queue.T], 1) / 0.2


@family
def momentum_contrast() -> Training:
    inner = contrastive().batch
    return Training(Momentum(), lambda: (inner()[0], torch.zeros(32, dtype=torch.long)), functional.cross_entropy)


@family
def distillation() -> Training:
    teacher = mlp(32, 64, 10)

    def batch() -> tuple[Tensor, Tensor]:
        inputs = torch.randn(64, 32)
        with torch.no_grad():
            return inputs, (teacher(inputs) * 4).softmax(1)

    return Training(
        mlp(32, 64, 10), batch, lambda out, soft: functional.kl_div(out.log_softmax(1), soft, reduction="batchmean")
    )


class Sum(nn.Module):
    """Message passing by sums over neighbours: features grow with the degree, and that is the design."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 5)

    def forward(self, graph: tuple[Tensor, Tensor]) -> Tensor:
        features, adjacency = graph
        return self.second(adjacency @ torch.relu(self.first(adjacency @ features)))


@family
def message_passing() -> Training:
    batch = labelled(5, 60, 16)

    def graph() -> tuple[tuple[Tensor, Tensor], Tensor]:
        features, labels = batch()
        same = labels[:, None] == labels[None]
        return (features, ((torch.rand(60, 60) < 0.15) & same | torch.eye(60, dtype=torch.bool)).float()), labels

    return Training(Sum(), graph, functional.cross_entropy, lr=3e-3)


@family
def accumulation() -> Training:
    return Training(mlp(32, 64, 10), labelled(10, 16, 32), functional.cross_entropy, clip=1.0, micro_batches=4)


@family
def warm_linear() -> Training:
    return Training(nn.Linear(20, 5), labelled(5, 64, 20), functional.cross_entropy, torch.optim.SGD, 0.5)


@family
def pixels() -> Training:
    """Inputs of 0..255 into a network that standardises them itself."""
    batch = labelled(10, 64, 30)
    model = nn.Sequential(nn.BatchNorm1d(30), mlp(30, 64, 10))
    return Training(model, lambda: (lambda x, y: (100 + 50 * x, y))(*batch()), functional.cross_entropy)


@family
def quantiles() -> Training:
    """A regression in large units: losses and gradients in the thousands."""

    def batch() -> tuple[Tensor, Tensor]:
        inputs = torch.randn(64, 12)
        return inputs, 300 + 100 * inputs[:, :1] + 20 * torch.randn(64, 1)

    return Training(mlp(12, 64, 1), batch, functional.l1_loss, torch.optim.Adam, 1e-2)


def follow(slow: nn.Module, fast: nn.Module, part: float) -> None:
    with torch.no_grad():
        for one, other in zip(slow.parameters(), fast.parameters(), strict=True):
            one.lerp_(other, part)


class Taught(nn.Module):
    """A student beside its teacher, which has dropouts and is asked for what the student shall say."""

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.asked = [teacher.eval().requires_grad_(False)]  # no part of what is trained

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.student(x), self.asked[0](x)


def dropping(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(layer for linear in mlp(*widths) for layer in (linear, nn.Dropout(0.1))))


def agreement(both: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    student, teacher = both
    soft = functional.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    return functional.cross_entropy(student, labels) + soft


def averaged(part: Callable[[int], float]) -> Training:
    """Its teacher is a moving average of the student, moved by `part` of the way after each step."""
    student = dropping(32, 64, 10)
    model = Taught(copy.deepcopy(student), student)

    def move(step: int) -> None:
        follow(model.asked[0], model.student, part(step))

    return Training(model, labelled(10, 64, 32), agreement, after=move)


@family
def slow_average() -> Training:
    return averaged(lambda step: 0.001)


@family
def warm_average() -> Training:
    return averaged(lambda step: 1 - (1 + step) / (10 + step))


@family
def quick_average() -> Training:
    return averaged(lambda step: 0.5)


@family
def copied_each_third_step() -> Training:
    return averaged(lambda step: float(step % 3 == 2))


@family
def dropping_teacher() -> Training:
    return Training(Taught(dropping(32, 128, 10), mlp(32, 64, 10)), labelled(10, 64, 32), agreement)


@family
def returns() -> Training:
    """What reinforcement learning regresses to: sums of rewards, in hundreds."""

    def batch() -> tuple[Tensor, Tensor]:
        inputs = torch.randn(64, 8)
        return inputs, 400 * torch.rand(64, 1) + 50 * inputs[:, :1]

    return Training(mlp(8, 64, 64, 1), batch, functional.smooth_l1_loss, torch.optim.Adam, 2.5e-4)


@family
def raw_units() -> Training:
    """Prices in thousands, by a linear model that steps far enough."""

    def batch() -> tuple[Tensor, Tensor]:
        inputs = torch.randn(64, 8)
        return inputs, 3000 + 800 * inputs.sum(1, keepdim=True)

    return Training(nn.Linear(8, 1), batch, functional.mse_loss, torch.optim.SGD, 0.05)


@family
def half_precision() -> Training:
    model = mlp(32, 64, 64, 10, norm=True).to(torch.bfloat16)
    batch = labelled(10, 64, 32)
    return Training(
        model,
        lambda: (lambda x, y: (x.to(torch.bfloat16), y))(*batch()),
        lambda out, y: functional.cross_entropy(out.float(), y),
    )


@family
def probed_features() -> Training:
    """A head on a body that is not trained, although nobody has frozen it."""
    model = mlp(32, 64, 64, 10)
    return Training(model, labelled(10, 64, 32), functional.cross_entropy, held=lambda m: m[-1].parameters())


FAULTS = (
    "large-learning-rate",
    "missing-zero-grad",
    "clip-after-step",
    "clip-before-backward",
    "huge-clip",
    "unscaled-inputs",
    "unscaled-features",
    "sign-flip",
    "not-a-number",
    "imbalance",
    "dead-units",
    "deep-sigmoid",
    "tiny-learning-rate",
    "zero-learning-rate",
    "epoch-schedule-each-batch",
    "kept-graph",
    "evaluation-mode",
    "large-weight-decay",
    "targets-of-255",
    "layer-after-optimizer",
    "idle-optimizer",
    "huge-targets",
    "average-that-keeps-nothing",
    "trained-average",
    "teacher-that-drops-out",
    "momentum-of-keras",
    "half-precision",
    "head-left-out",
)


def break_training(training: Training, fault: str | None) -> None:
    batch, loss = training.batch, training.loss
    if fault == "large-learning-rate":
        training.lr *= 100
    elif fault in ("clip-after-step", "clip-before-backward"):
        training.clip = 0.05
    elif fault == "huge-clip":
        training.clip = 1e6
    elif fault == "unscaled-inputs":
        training.batch = lambda: (lambda x, y: (100 * x, y))(*batch())
    elif fault == "unscaled-features":
        linears(training.model)[-1].register_forward_pre_hook(lambda _, inputs: (100 * inputs[0],))
    elif fault == "sign-flip":
        training.loss = lambda out, target: -loss(out, target)
    elif fault == "not-a-number":
        training.loss = lambda out, target: loss(out, target) + (out - out.detach()).pow(2).sum().sqrt()
    elif fault == "imbalance":
        training.batch = lambda: (lambda x, y: (x, y.where(torch.rand(y.shape) < 0.1, torch.zeros_like(y))))(*batch())
    elif fault == "dead-units":
        for module in linears(training.model)[:-1]:
            nn.init.constant_(module.bias, -50.0)
    elif fault == "deep-sigmoid":
        width = linears(training.model)[-1].in_features
        tower = [layer for _ in range(8) for layer in (nn.Linear(width, width), nn.Sigmoid())]
        training.model = nn.Sequential(*training.model[:-1], *tower, training.model[-1])
    elif fault == "tiny-learning-rate":
        training.lr *= 1e-6
    elif fault == "zero-learning-rate":
        training.lr = 0.0
    elif fault == "evaluation-mode":
        training.model.eval()
    elif fault == "large-weight-decay":
        adam = training.optimizer is torch.optim.AdamW
        training.optimizer = torch.optim.Adam if adam else training.optimizer
        training.settings = {**training.settings, "weight_decay": 5.0}
    elif fault == "targets-of-255":
        training.batch = lambda: (lambda x, y: (x, 255 * y))(*batch())
    elif fault == "huge-targets":
        training.batch = lambda: (lambda x, y: (x, 1e5 * y))(*batch())
    elif fault == "average-that-keeps-nothing":
        training.after = lambda step: follow(training.model.asked[0], training.model.student, 0.99)
    elif fault == "trained-average":
        training.held = lambda model: (*model.parameters(), *model.asked[0].requires_grad_(True).parameters())
    elif fault == "teacher-that-drops-out":
        training.model.asked[0].train()
    elif fault == "momentum-of-keras":
        for module in training.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.99
    elif fault == "half-precision":
        training.model.to(torch.bfloat16)
        training.lr = 1e-5
        training.batch = lambda: (lambda x, y: (x.to(torch.bfloat16), y))(*batch())
        training.loss = lambda out, target: loss(out.float(), target)
    elif fault == "head-left-out":
        training.held = lambda model: model[:-1].parameters()


def linears(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def train(training: Training, steps: int, fault: str | None) -> float:
    parameters = [p for p in training.held(training.model) if p.requires_grad]
    optimizer = training.optimizer(parameters, lr=training.lr, **training.settings)
    others: list[torch.optim.Optimizer] = []
    schedule: Any = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, (i + 1) / (training.warmup + 1)))
    if fault == "epoch-schedule-each-batch":
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    elif fault == "layer-after-optimizer":
        last = linears(training.model)[-1]
        training.model = nn.Sequential(training.model, nn.ReLU(), nn.Linear(last.out_features, last.out_features))
    elif fault == "idle-optimizer":
        half = len(parameters) // 2
        others.append(torch.optim.SGD(parameters[:half], lr=training.lr))
        optimizer = training.optimizer(parameters[half:], lr=training.lr, **training.settings)
    kept: list[Tensor] = []

    def clip() -> None:
        if training.clip is not None:
            nn.utils.clip_grad_norm_(parameters, training.clip)

    for step in range(steps):
        if fault != "missing-zero-grad":
            training.model.zero_grad()
        for _ in range(training.micro_batches):
            inputs, targets = training.batch()
            if fault == "clip-before-backward":
                clip()
            loss = training.loss(training.model(inputs), targets) / training.micro_batches
            loss.backward()
            if fault == "kept-graph":
                kept.append(loss)
        if fault not in ("clip-before-backward", "clip-after-step"):
            clip()
        optimizer.step()
        if fault == "clip-after-step":
            clip()
        schedule.step()
        training.after(step)
    return loss.item() if math.isfinite(loss.item()) else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", choices=FAULTS)
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    training = FAMILIES[arguments.family]()
    break_training(training, arguments.fault)
    print(train(training, arguments.steps, arguments.fault))


if __name__ == "__main__":
    main()
