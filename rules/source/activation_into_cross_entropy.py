"""ML190."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.pattern import used
from modellint.measure import sides
from modellint.measure.quantities import Distribution, Pair
from modellint.source import lookup, outputs
from modellint.source.facts import Loss, Operation

RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}

FUNCTIONS = {
    "CrossEntropyLoss": "", "NLLLoss": "log-softmax", "BCEWithLogitsLoss": "", "BCELoss": "sigmoid",
}  # fmt: skip
BINARY = frozenset({"BCEWithLogitsLoss", "BCELoss"})
POSITIVE = frozenset({"relu", "relu6"})  # a sigmoid before a binary loss with logits is another fault
WRITTEN = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


class ActivationIntoCrossEntropy(SourceRule):
    """The scores of classes pass a sigmoid, tanh or ReLU before cross entropy, or a ReLU before a sigmoid.

    Why: cross entropy reads differences of scores. Behind a sigmoid they are below 1, so that with C classes the loss
        cannot fall below log(1 + (C - 1) / e): 0.31 for two classes, 1.46 for ten. Behind a ReLU no class can be said to
        be unlikely, and where all scores are negative no gradient is left; the sigmoid of such a score is never below one half.
    Fix: give the loss the output of the last layer.
    Ignore: hardly ever. An activation that is pooled or scaled before the loss is not meant.
    Reported: https://github.com/pytorch/tutorials/pull/1644
    """

    code, severity, certain, topic = "ML190", Severity.WARNING, True, "structure"
    twins = ("activation-on-output",)
    words = (
        *("CrossEntropyLoss", used("cross_entropy"), "NLLLoss", used("nll_loss")),
        *((*loss, cut) for loss in (("BCE",), *map(used, WRITTEN)) for cut in ("relu", "ReLU")),
    )
    bad = (
        "loss = F.binary_cross_entropy(torch.sigmoid(F.relu(model(x))), y)",
        """
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.ReLU())
        loss = nn.BCEWithLogitsLoss()(net(x), y)
        """,
        "loss = F.cross_entropy(torch.sigmoid(model(x)), y)",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden, self.out = nn.Linear(8, 16), nn.Linear(16, 4)

            def forward(self, x):
                x = F.relu(self.hidden(x))
                return F.relu(self.out(x))

        net, criterion = Net(), nn.CrossEntropyLoss()
        for x, y in loader:
            loss = criterion(net(x), y) + 0.1 * penalty(net)
        """,
        """
        head = nn.Sequential(nn.Linear(8, 4), nn.Tanh())
        loss = nn.CrossEntropyLoss()(head(x), y)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden, self.out = nn.Linear(8, 16), nn.Linear(16, 4)

            def forward(self, x):
                x = F.relu(self.hidden(x))
                x = F.relu(self.out(x))
                return F.log_softmax(x, dim=1)

        net = Net()
        for x, y in loader:
            loss = F.nll_loss(net(x), y)
        """,
    )
    good = (
        """
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Sigmoid())
        loss = F.binary_cross_entropy(net(x), y)
        """,
        """
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        loss = F.cross_entropy(net(x), y)
        """,
        """
        net = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        loss = F.cross_entropy(net(x), y)  # the mean of what passed the ReLU, as in SqueezeNet
        """,
        "loss = F.cross_entropy(30.0 * torch.tanh(model(x) / 30.0), y)  # a soft cap",
        "loss = F.binary_cross_entropy(torch.sigmoid(model(x)), y)",
        """
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.LogSoftmax(1))
        loss = F.nll_loss(net(x), y)
        """,
        "loss = F.cross_entropy(model(x), torch.sigmoid(teacher(x)))",
    )
    confirmed_by = Run((Step(pair=Pair(input=Distribution(min=0.2, max=0.8))),) * 3)
    not_confirmed_by = Run((Step(pair=Pair(input=Distribution(min=-2.0, max=1.8))),) * 3)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        seen: set[Operation] = set()
        for loss in script.losses:
            last = _activation(loss)
            if last is not None and last not in seen:  # one activation may meet several losses: that is one fault
                seen.add(last)
                where = outputs.written(last, loss.location)
                sure = last.certain and loss.certain and len(loss.inputs) == 1
                what = "binary scores" if loss.kind in BINARY else "scores"
                yield self.at(loss, f"takes {what} of any size and is given what passes the {where}", certain=sure)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """An activation that is applied for the loss alone goes."""
        for loss in (loss for loss in script.losses if loss.location == finding.location):
            last = _activation(loss)
            if last is not None and last.made.line is None and lookup.share_function(script, loss, last):
                inner = "{0|input}" if "." in last.name else "{receiver}"
                return Fix((edit.replace(last, inner, into=loss),), safe=False)
        return None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        low, high = next((r for name, r in RANGES.items() if f"`{name}`" in finding.message.lower()), RANGES["relu"])
        pairs = sides.of_loss(run, finding.location)
        inside = [low <= (pair.input.min or 0.0) and (pair.input.max or 0.0) <= high for pair in pairs]
        if not inside or "binary" in finding.message:
            return None
        share = sum(inside) / len(inside)
        return Evidence(
            "share of steps whose scores all lie in the range of the activation", share, 1.0, holds=all(inside)
        )


def _activation(loss: Loss) -> Operation | None:
    """What every path to the scores of a cross entropy ends in, where that is one of these activations."""
    heads = [outputs.head(path) for path in _scores(loss)]
    cut = POSITIVE if loss.kind in BINARY else RANGES
    return heads[0] if heads and all(head and head.short.lower() in cut for head in heads) else None


def _scores(loss: Loss) -> Iterator[Sequence[Operation]]:
    """The ways to the scores: those to a likelihood lead through the function that makes it of them."""
    before = FUNCTIONS.get(loss.kind, "")
    for path in loss.inputs if loss.kind in FUNCTIONS else ():
        last = outputs.head(path) if before else None
        taken = last is not None and outputs.kind(last) == before
        yield path if not before else path[path.index(last) + 1 :] if taken and last is not None else ()
