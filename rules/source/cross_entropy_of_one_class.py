"""ML181."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import outputs
from modellint.source.facts import Loss, Operation


class CrossEntropyOfOneClass(SourceRule):
    """Cross entropy is given the scores of a single class: the loss is always zero.

    Why: the softmax of one score is 1, whatever the score. Nothing is learned, and a label of 1 is out of range.
    Fix: `BCEWithLogitsLoss` for a yes or no that one output tells, or one output for each class.
    Ignore: when the one score of each candidate is put side by side before the loss.
    Reported: https://github.com/bowang-lab/MedSAM/issues/99, https://github.com/APPFL/APPFL/issues/60
    """

    code, severity, certain, topic = "ML181", Severity.ERROR, True, "structure"
    explains = ("loss-not-falling",)
    words = tuple((loss, ", 1)") for loss in ("CrossEntropyLoss", "cross_entropy("))
    bad = (
        """
        net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))
        criterion = nn.CrossEntropyLoss()
        for x, y in loader:
            loss = criterion(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 1)

            def forward(self, x):
                return self.head(torch.relu(self.body(x)))

        net = Net()
        for x, y in loader:
            F.cross_entropy(net(x), y).backward()
        """,
    )
    good = (
        """
        net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))
        criterion = nn.BCEWithLogitsLoss()
        for x, y in loader:
            loss = criterion(net(x).squeeze(1), y.float())
        """,
        """
        scorer = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))
        for candidates, best in loader:
            loss = F.cross_entropy(scorer(candidates).squeeze(-1), best)
            pairs = torch.cat([scorer(candidates[:, 0]), scorer(candidates[:, 1])], dim=1)
            loss = loss + F.cross_entropy(pairs, best)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in script.losses:
            head = _head(loss)
            if loss.kind == "CrossEntropyLoss" and loss.certain and head is not None:
                yield self.at(loss, f"takes the softmax over the one output of the `Linear` of line {head.made.line}")


def _head(loss: Loss) -> Operation | None:
    """The layer of one output whose scores are the input, as they are and on every path."""
    heads = [path[0] for path in loss.inputs if path]
    single = bool(heads) and len(heads) == len(loss.inputs) and all(map(outputs.is_single, heads))
    return heads[0] if single else None
