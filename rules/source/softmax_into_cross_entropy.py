"""ML111."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.pattern import used
from modellint.measure.quantities import Logits
from modellint.source import lookup, outputs
from modellint.source.facts import Loss, Operation

SOFTMAX = frozenset({"softmax", "Softmax", "Softmax2d"})
LOG_SOFTMAX = frozenset({"log_softmax", "LogSoftmax"})


def _run(rows_sum_to_one: bool) -> Run:
    return Run(tuple(Step(i, logits=Logits(10, 5, rows_sum_to_one=rows_sum_to_one)) for i in range(3)))


class SoftmaxIntoCrossEntropy(SourceRule):
    """Cross entropy is given probabilities, where it takes raw scores.

    Why: cross entropy applies log-softmax itself. Over probabilities, which differ by at most 1, its gradients are
        small and its loss cannot fall below log(e + C - 1) - 1 for C classes, however sure the model is.
    Fix: give the loss the output of the last layer; apply softmax only where probabilities are read.
    Ignore: hardly ever. A log-softmax before cross entropy changes nothing, and is only noted, as is a softmax before one
        of several losses among which a setting chooses.
    Reported: https://github.com/jindongwang/Deep-learning-activity-recognition/issues/10
    """

    code, severity, certain, topic = "ML111", Severity.ERROR, True, "structure"
    twins = ("softmax-before-loss",)
    remedy = "drop-softmax"
    words = ("CrossEntropyLoss", used("cross_entropy"))
    bad = (
        "loss = F.cross_entropy(model(x).softmax(-1), y)",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(20, 64)
                self.head = nn.Sequential(nn.ReLU(), nn.Linear(64, 10), nn.Softmax(dim=1))

            def forward(self, x):
                return self.head(self.body(x))

        net = Net().to(device)
        criterion = nn.CrossEntropyLoss()
        for x, y in loader:
            output = net(x)
            criterion(output.view(-1, 10), y).backward()
        """,
        """
        def forward(x):
            x = classifier(x)
            return torch.log_softmax(x, dim=1)

        loss = torch.nn.CrossEntropyLoss()(forward(x), y)
        """,
        """
        probe = nn.Sequential(nn.Linear(64, 10), nn.Softmax(-1)).to(device)
        criterion = nn.CrossEntropyLoss()
        loss = criterion(probe(x), y.to(device))
        """,
    )
    fixed = (
        "loss = F.cross_entropy(model(x), y)",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(20, 64)
                self.head = nn.Sequential(nn.ReLU(), nn.Linear(64, 10))

            def forward(self, x):
                return self.head(self.body(x))

        net = Net().to(device)
        criterion = nn.CrossEntropyLoss()
        for x, y in loader:
            output = net(x)
            criterion(output.view(-1, 10), y).backward()
        """,
        """
        def forward(x):
            x = classifier(x)
            return x

        loss = torch.nn.CrossEntropyLoss()(forward(x), y)
        """,
    )
    good = (
        """
        scores = torch.softmax(query @ key.transpose(-2, -1), dim=-1)
        loss = F.cross_entropy(head(scores @ value), y)
        """,
        """
        loss = F.nll_loss(F.log_softmax(model(x), dim=1), y)
        """,
        """
        teacher = torch.softmax(big(x) / 4, dim=1)  # the target is a distribution, the input is not
        loss = F.cross_entropy(small(x), teacher)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(64, 10)

            def forward(self, x):
                x = self.head(x)
                if self.training:
                    return x
                return x.softmax(-1)

        net = Net()
        loss = F.cross_entropy(net(x), y)
        """,
        """
        logits = model(x)
        probabilities = logits.softmax(-1)
        loss = F.cross_entropy(logits, y)
        entropy = -(probabilities * logits.log_softmax(-1)).sum()
        """,
    )
    suspected = (
        """
        class Net(nn.Module):
            def __init__(self, config):
                super().__init__()
                self.kind, self.head = config.loss, nn.Linear(64, 10)
                if config.loss == "soft_f1":
                    self.criterion = SoftF1Loss()  # takes probabilities
                else:
                    self.criterion = nn.CrossEntropyLoss()

            def training_step(self, batch, index):
                x, y = batch
                logits = self.head(x)
                if self.kind == "soft_f1":
                    return self.criterion(logits.softmax(-1), y)
                return self.criterion(logits, y)
        """,
    )
    confirmed_by = _run(True)
    not_confirmed_by = _run(False)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        seen: set[Operation] = set()
        for loss in (loss for loss in script.losses if loss.kind == "CrossEntropyLoss"):
            heads = [outputs.head(path) for path in loss.inputs]
            normalised = [head for head in heads if head is not None and head.short in SOFTMAX | LOG_SOFTMAX]
            if normalised and normalised[0] not in seen:  # one head may meet several losses: that is one fault
                seen.add(normalised[0])
                sure = normalised[0].certain and loss.certain and len(normalised) == len(heads)
                yield self._finding(loss, normalised[0], sure)

    def _finding(self, loss: Loss, head: Operation, sure: bool) -> Diagnostic:
        place = head.made if head.made.line is not None else head.location
        where = f"line {place.line}" if place.path == loss.location.path else f"{place.path}:{place.line}"
        if head.short in LOG_SOFTMAX:
            message = f"repeats the `{head.short}` of {where}, which changes nothing"
            return self.at(loss, message, severity=Severity.NOTE, certain=sure)
        return self.at(
            loss, f"applies cross entropy to the probabilities of the `{head.short}` of {where}", certain=sure
        )

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        seen = [s.logits.rows_sum_to_one for s in run.steps if s.logits and s.logits.rows_sum_to_one is not None]
        if not seen:
            return None
        return Evidence("share of steps whose rows into the loss sum to 1", sum(seen) / len(seen), 1.0, holds=all(seen))

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Unsafe if the softmax is the model's own: what reads its probabilities elsewhere gets scores instead."""
        for loss in (loss for loss in script.losses if loss.location == finding.location):
            heads = {head for path in loss.inputs if (head := outputs.head(path)) is not None}
            head = heads.pop()
            if heads or head.location.path != script.path:
                return None
            if any(sum(op.location == head.location for op in path) > 1 for path in loss.inputs):  # in a Sequential
                return Fix((edit.remove(head.made),), safe=False) if head.made.path == script.path else None
            inner = "{0|input}" if "." in head.name else "{receiver}"
            if lookup.share_function(script, loss, head):
                return Fix((edit.replace(head, inner, into=loss, monotone=True),))
            return Fix((edit.replace(head, inner),), safe=False)
        return None
