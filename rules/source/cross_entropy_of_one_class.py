"""ML181."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import outputs
from modellint.source.facts import Loss, Operation

PROBABLE = frozenset({"BCELoss", "MSELoss", "L1Loss", "SmoothL1Loss"})
SEQUENCES = frozenset(
    "LSTM GRU RNN Embedding MultiheadAttention TransformerEncoder Conv1d bmm unsqueeze stack matmul @".split()
)


class CrossEntropyOfOneClass(SourceRule):
    """Cross entropy, or a softmax before another loss, is given the scores of a single class: nothing is learned.

    Why: the softmax of one score is 1, whatever the score. Nothing is learned, and a label of 1 is out of range for cross entropy.
    Fix: `BCEWithLogitsLoss` (or a sigmoid) for a yes or no that one output tells, or one output for each class.
    Ignore: when the one score of each candidate is put side by side before the loss.
    Reported: https://github.com/bowang-lab/MedSAM/issues/99, https://github.com/APPFL/APPFL/issues/60
    """

    code, severity, certain, topic = "ML181", Severity.ERROR, True, "structure"
    explains = ("loss-not-falling",)
    words = (
        *((loss, ", 1)") for loss in ("CrossEntropyLoss", "cross_entropy(")),
        *(("oftmax(", loss) for loss in ("BCELoss", "binary_cross_entropy(", "MSELoss", "mse_loss(")),
    )
    bad = (
        """
        net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1), nn.Softmax(dim=1))
        criterion = nn.BCELoss()
        for x, y in loader:
            loss = criterion(net(x).view(-1), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Critic(nn.Module):
            def __init__(self):
                super().__init__()
                self.main = nn.Sequential(nn.Conv2d(3, 8, 4), nn.ReLU(), nn.Conv2d(8, 1, 4, 1, 0), nn.Softmax(dim=1))

            def forward(self, x):
                return self.main(x)

        critic = Critic()
        for x, y in loader:
            F.binary_cross_entropy(critic(x).view(-1), y).backward()
        """,
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
        net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2), nn.Softmax(dim=1))
        criterion = nn.BCELoss()
        for x, y in loader:
            loss = criterion(net(x)[:, 1], y)
        """,
        """
        class Pointer(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder, self.score = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 1)

            def forward(self, x):
                states, _ = self.encoder(x)
                return torch.softmax(self.score(states), dim=1).squeeze(-1)  # over the places

        model = Pointer()
        for x, y in loader:
            F.binary_cross_entropy(model(x), y).backward()
        """,
        """
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 1, 1), nn.Flatten(), nn.Softmax(dim=1))
        for x, y in loader:
            F.mse_loss(net(x), y).backward()  # over the pixels
        """,
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
            elif loss.kind in PROBABLE and loss.certain and (softmax := _softmax(loss)) is not None:
                where = outputs.written(softmax, loss.location)
                message = f"is given the {where}, over the one output of a layer: that is always 1"
                yield self.at(loss, message, certain=False)  # where the rank is not known it may be over candidates


def _softmax(loss: Loss) -> Operation | None:
    """The softmax in which each path to the input ends, if it runs over the one output of a layer."""
    found = [_over_one(path) for path in loss.inputs]
    return found[0] if found and None not in found else None


def _over_one(path: Sequence[Operation]) -> Operation | None:
    arranged = [operation for operation in path if operation.short in outputs.KEEPS]
    softmax, layer, *before = [*path[path.index(head) :], None, None] if (head := outputs.head(path)) else (None, None)
    if (
        softmax is None
        or layer is None
        or outputs.kind(softmax) != "softmax"
        or softmax.call is None
        or not softmax.certain
    ):
        return None
    given = softmax.call.argument(int("." in softmax.name and not softmax.short[0].isupper()), "dim")
    axis = given.constant if given is not None else 1
    flat = not any(operation is not None and operation.short in SEQUENCES for operation in before)
    if axis == -1 or (axis == 1 and flat and not any(operation.short == "squeeze" for operation in arranged)):
        single = outputs.is_single(layer)
    else:
        single = False
    conv = layer.call is not None and layer.name.startswith("torch.nn.Conv") and axis == 1
    channels = layer.call.argument(1, "out_channels") if conv and layer.call is not None else None
    return (
        softmax if single or (channels is not None and channels.constant == 1 and channels.kind == "constant") else None
    )


def _head(loss: Loss) -> Operation | None:
    """The layer of one output whose scores are the input, as they are and on every path."""
    heads = [path[0] for path in loss.inputs if path]
    single = bool(heads) and len(heads) == len(loss.inputs) and all(map(outputs.is_single, heads))
    return heads[0] if single else None
