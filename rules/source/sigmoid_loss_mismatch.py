"""ML112."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.pattern import used
from modellint.measure import sides
from modellint.measure.quantities import Distribution, Pair
from modellint.source import lookup, outputs
from modellint.source.facts import Loss


class SigmoidLossMismatch(SourceRule):
    """A binary cross entropy is given probabilities where it takes scores, or scores where it takes probabilities.

    Why: `BCEWithLogitsLoss` applies the sigmoid itself. Over probabilities it reads every sample as at least an even
        chance of the positive class: its value cannot fall below 0.31 for a positive and 0.69 for a negative sample,
        and its gradients are a quarter of what they should be, or less. `BCELoss` over raw scores stops with an error
        at the first score outside 0..1.
    Fix: pair scores with `BCEWithLogitsLoss` (the numerically stable one), or the sigmoid with `BCELoss`.
    Ignore: hardly ever.
    Reported: https://github.com/YXNTU/GeneralDyG/issues/6, https://github.com/yudi-mars/daisyRec/pull/15
    """

    code, severity, certain, topic = "ML112", Severity.ERROR, True, "structure"
    remedy = "drop-softmax"
    words = ("BCE", used("binary_cross_entropy"), used("binary_cross_entropy_with_logits"))
    bad = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())

            def forward(self, x):
                return self.head(x).squeeze(1)

        net = Net()
        criterion = nn.BCEWithLogitsLoss()
        for x, y in loader:
            loss = criterion(net(x), y)
        """,
        "loss = F.binary_cross_entropy_with_logits(torch.sigmoid(model(x)), y)",
        """
        def predict(model, x):
            x = model(x)
            x.sigmoid_()
            return x

        class Solver:
            def __init__(self, model):
                self.model = model
                self.loss = torch.nn.BCEWithLogitsLoss()

            def step(self, x, y):
                return self.loss(predict(self.model, x), y)
        """,
        """
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        loss = nn.BCELoss()(net(x).view(-1), y)
        """,
    )
    fixed = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

            def forward(self, x):
                return self.head(x).squeeze(1)

        net = Net()
        criterion = nn.BCEWithLogitsLoss()
        for x, y in loader:
            loss = criterion(net(x), y)
        """,
        "loss = F.binary_cross_entropy_with_logits(model(x), y)",
        None,
        """
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        loss = nn.BCEWithLogitsLoss()(net(x).view(-1), y)
        """,
    )
    good = (
        """
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
        loss = nn.BCELoss()(net(x).view(-1), y)
        """,
        """
        class Gated(nn.Module):
            def __init__(self):
                super().__init__()
                self.gate, self.value = nn.Linear(8, 1), nn.Linear(8, 1)

            def forward(self, x):
                return self.value(x) * torch.sigmoid(self.gate(x))

        gated = Gated()
        loss = F.binary_cross_entropy_with_logits(gated(x), y)
        """,
        """
        scores = model(x)
        probabilities = torch.sigmoid(scores)
        loss = F.binary_cross_entropy_with_logits(scores, y)
        accuracy = ((probabilities > 0.5) == y).float().mean()
        """,
        """
        loss = nn.BCELoss()(model(x), y)  # a model that cannot be read
        """,
        """
        class Critic(nn.Module):
            def __init__(self, wasserstein):
                super().__init__()
                self.model = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
                if not wasserstein:
                    self.model = nn.Sequential(self.model, nn.Sigmoid())

            def forward(self, x):
                return self.model(x)

        critic = Critic(False)
        loss = nn.BCELoss()(critic(x), y)
        """,
        """
        def focal(self, scores, y):
            loss = F.binary_cross_entropy_with_logits(scores, y, reduction="none")
            scores = torch.sigmoid(scores)  # after the loss
            return ((1 - scores) ** 2 * loss).mean()
        """,
        """
        loss = F.binary_cross_entropy_with_logits(student(x), torch.sigmoid(teacher(x)))
        """,
        """
        class Net(nn.Module):
            def __init__(self, probabilities=False):
                super().__init__()
                self.head, self.probabilities = nn.Linear(64, 1), probabilities

            def forward(self, x):
                scores = self.head(x)
                return torch.sigmoid(scores) if self.probabilities else scores

        loss = F.binary_cross_entropy_with_logits(Net()(x), y)
        """,
    )
    confirmed_by = Run((Step(pair=Pair(input=Distribution(min=0.2, max=0.8))),) * 3)
    not_confirmed_by = Run((Step(pair=Pair(input=Distribution(min=-2.0, max=1.8))),) * 3)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in script.losses:
            if loss.kind == "BCEWithLogitsLoss":
                yield from self._judge(loss, "sigmoid", "applies the sigmoid once more to the result of the {}")
            elif loss.kind == "BCELoss":
                yield from self._judge(loss, "scores", "takes probabilities and is given the raw scores of the {}")

    def _judge(self, loss: Loss, wrong: str, message: str) -> Iterator[Diagnostic]:
        found = outputs.ending(loss.inputs, (wrong,), ("scores" if wrong == "sigmoid" else "sigmoid",))
        if found is not None:
            operation, sure = found
            sure = sure and loss.certain
            if sure or loss.kind == "BCEWithLogitsLoss":  # scores into the other one stop the run by themselves
                yield self.at(loss, message.format(outputs.written(operation, loss.location)), certain=sure)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """A sigmoid that is applied for the loss alone goes; scores get the loss that takes them."""
        for loss in (loss for loss in script.losses if loss.location == finding.location):
            found = outputs.ending(loss.inputs, ("sigmoid", "scores"))
            if found is None or not found[1]:
                return None
            if loss.kind == "BCELoss":
                return _with_scores(script, loss)
            head = found[0]
            if any(sum(op.location == head.location for op in path) > 1 for path in loss.inputs):  # in a Sequential
                return Fix((edit.remove(head.made),), safe=False) if head.made.path == script.path else None
            if head.short in ("sigmoid", "expit") and lookup.share_function(script, loss, head):
                inner = "{0|input}" if "." in head.name else "{receiver}"
                return Fix((edit.replace(head, inner, into=loss, monotone=True),))
        return None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        ranges = [(pair.input.min or 0.0, pair.input.max or 0.0) for pair in sides.of_loss(run, finding.location)]
        if not ranges:
            return None
        inside = sum(low >= 0 and high <= 1 for low, high in ranges) / len(ranges)
        return Evidence("share of steps whose scores all lie within 0 and 1", inside, 1.0, holds=inside == 1)


def _with_scores(script: Script, loss: Loss) -> Fix | None:
    """The loss that takes scores; unsafe where others use it too."""
    if loss.made is None:
        return Fix((edit.rename(loss, "binary_cross_entropy_with_logits"),))
    return (
        Fix((edit.rename(loss.made, "BCEWithLogitsLoss"),), safe=False)
        if loss.made.location.path == script.path
        else None
    )
