"""ML115."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.measure import examined
from modellint.source import lookup, outputs
from modellint.source.code import Value
from modellint.source.facts import Loss, Operation

CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss", "KLDivLoss")
NORMALISES = ("softmax", "log-softmax")
GUESSES = frozenset(f"torch.nn.functional.{name}" for name in ("softmax", "log_softmax", "softmin")) | frozenset(
    f"torch.nn.{name}" for name in ("Softmax", "LogSoftmax", "Softmin")
)
CHOOSES = frozenset({"argmax", "max", "softmax", "log_softmax", "topk"})
TURNS = frozenset(
    {"permute", "transpose", "t", "movedim", "T", "mT", "rearrange", "einsum", "stack", "squeeze", "select"}
)
RESHAPES = frozenset({"view", "reshape", "flatten"})
NORMS = frozenset({"BatchNorm1d", "BatchNorm2d", "Flatten"})


class SoftmaxDimension(SourceRule):
    """A softmax, or the choice of the best class, runs over the batch instead of the classes.

    Why: over axis 0 of a batch the scores of different samples compete: each prediction depends on what else is in the
        batch, and every class is predicted for some sample. Without `dim` PyTorch guesses the axis from the number of
        axes (0 for a vector or three axes, else 1), and warns.
    Fix: name the axis of the classes: `dim=-1`, or `dim=1` where more axes follow.
    Ignore: when axis 0 is not the batch, as for the scores of a single sample.
    Reported: https://github.com/perone/euclidesdb/issues/2,
        https://github.com/DeepReinforcementLearning/DeepReinforcementLearningInAction/issues/32
    """

    code, severity, certain, topic = "ML115", Severity.ERROR, True, "structure"
    twins = ("batch-mixing",)
    words = (
        ("oftm", pattern(rb"oftm(?:ax|in)\((?!(?:[^()]|\((?:[^()]|\([^()]*\))*\))*?(?:\b(?:dim|axis)\b|,\s*-?\d+\s*[,)]))")),
        ("cross_entropy", pattern(rb"\bcross_entropy\b")), "CrossEntropyLoss", ("nll_loss", pattern(rb"\bnll_loss\b")), "NLLLoss",
    )  # fmt: skip
    bad = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(784, 64), nn.Linear(64, 10)

            def forward(self, x):
                x = x.view(-1, 784)
                return F.log_softmax(self.head(F.relu(self.body(x))), dim=0)

        net = Net()
        for x, y in loader:
            loss = F.nll_loss(net(x), y)
        """,
        """
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(dim=0))
        criterion = nn.NLLLoss()
        for x, y in loader:
            loss = criterion(net(x), y)
        """,
        """
        from torch.utils.data import DataLoader

        def validate(model, data):
            for x, y in DataLoader(data, batch_size=64):
                output = model(x)
                loss = F.cross_entropy(output, y)
                correct = (output.argmax(dim=0) == y).sum()
        """,
        "probabilities = F.softmax(model(x))",
        "net = nn.Sequential(nn.Linear(784, 10), nn.LogSoftmax())",
    )
    good = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(784, 10)

            def forward(self, x):
                return F.log_softmax(self.head(x.view(-1, 784)), dim=1)

        loss = F.nll_loss(Net()(x), y)
        """,
        """
        class Attention(nn.Module):
            def forward(self, states):
                weights = torch.softmax(self.score(states), dim=0)  # [time, batch, 1]
                return (weights * states).sum(0)
        """,
        """
        def act(policy, state):
            return torch.softmax(policy(state), dim=0)  # one state
        """,
        """
        for x, y in loader:
            output = model(x)
            loss = F.cross_entropy(output, y)
            for scores in output:
                label = scores.argmax(0)
            first = output[0].argmax(0)
            correct = (output.max(1)[1] == y).sum()
        """,
        """
        from torch_geometric.utils import softmax
        weights = softmax(scores, index)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in (loss for loss in script.losses if loss.kind in CLASS_LOSSES):
            yield from self._normalised(loss)
            yield from self._chosen(script, loss)
        for call in script.calls:
            if call.name in GUESSES and _axis(call) is None and not call.unpacks:
                message = f"leaves it to `{call.method}` to guess the axis that it runs over"
                yield self.at(call, message, severity=Severity.NOTE)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        """Samples that meet convict; where they do not, the softmax may come after the model."""
        evidence = examined.mixing(run) if "for the loss" in finding.message else None
        return evidence if evidence is not None and evidence.holds else None

    def _normalised(self, loss: Loss) -> Iterator[Diagnostic]:
        """The softmax whose result is the loss's input, as it is."""
        for head, *before in (path for path in loss.inputs if path):
            if head.call is not None and outputs.kind(head) in NORMALISES and _axis(head.call) == 0:
                evidence = _batched(before)
                if evidence is not False:
                    message = (
                        f"takes the `{head.short}` over axis 0, the batch, for the loss of line {loss.location.line}"
                    )
                    yield self.at(head.call, message, certain=head.certain and (bool(evidence) or loss.batched))

    def _chosen(self, script: Script, loss: Loss) -> Iterator[Diagnostic]:
        """What the function does with the very scores that it gives the loss."""
        given, function = loss.call.argument(0, "input"), lookup.function(script, loss.location)
        if given is None or given.kind != "name" or function is None:
            return
        start = next((i for i, event in enumerate(function.events) if event.value is loss.call), 0)
        for event in function.events[start:]:
            call = event.value
            if event.kind == "assign" and event.name == given.name:
                return
            if event.kind == "call" and call is not None and _operand(call) == given.name and _axis(call) == 0:
                message = f"takes the `{call.method}` over axis 0, the batch, of the scores"
                yield self.at(call, message, certain=loss.batched)


def _axis(call: Value) -> float | None:
    """The axis; None if there is none, NaN if it cannot be read."""
    function = call.name.startswith("torch.") and not call.method[:1].isupper()
    given = call.argument(None, "axis") or call.argument(int(function), "dim")
    if given is None:
        return None
    return given.constant if isinstance(given.constant, int) else float("nan")


def _operand(call: Value) -> str:
    """The name of the tensor over which a call chooses or normalises."""
    if call.method not in CHOOSES or call.receiver is None:
        return ""
    operand = call.argument(0, "input") if call.name.startswith("torch.") else call.receiver
    return operand.name if operand is not None and operand.kind == "name" else ""


def _batched(before: Sequence[Operation]) -> bool | None:
    """Whether the values that came to a softmax surely have the batch first; False if another axis may be first."""
    for operation in before:
        if operation.short in TURNS:
            return False
        if operation.short in NORMS:
            return True
        if operation.short in RESHAPES:
            shape = operation.call.arguments[int(operation.name.startswith("torch.")) :] if operation.call else ()
            return len(shape) > int(operation.short != "flatten")
    return None
