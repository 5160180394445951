"""ML194."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source.code import Value

ONE_SIDED = frozenset({"CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss"})
LABELS = pattern(
    r"(self\.)?(\w+_)?(targets?|labels?|y|y_true|gts?|ground_truths?|gold)(_(b|batch|ids?|var|onehot|tensor))?"
)
SCORES = pattern(
    r"(self\.)?(\w+_)?(preds?|predictions?|outputs?|outs?|logits?|scores?|y_?hat|y_?preds?|y_?prob\w*)(_(b|batch|flat|var))?"
)
MODEL = pattern(r"(self\.)?(\w+_)?(model|net|network|classifier|discriminator)")
SAME = frozenset(
    "long float to cuda cpu view reshape squeeze unsqueeze flatten contiguous type_as type int detach".split()
)


class SwappedLossArguments(SourceRule):
    """A loss is given the labels where it takes the scores, and the scores where it takes the labels.

    Why: losses of PyTorch take the prediction first, those of scikit-learn and Keras the truth. Cross entropy of the
        truth, with the scores as its target, is another function: where shapes and types happen to fit, training
        minimises something else without an error.
    Fix: put the prediction first: `criterion(output, target)`.
    Ignore: nothing, except names that say the opposite of what they hold.
    Reported: https://github.com/isaaccorley/detcon-pytorch/pull/2
    """

    code, severity, certain, topic = "ML194", Severity.ERROR, True, "loss"
    words = ("cross_entropy", "CrossEntropyLoss", "nll_loss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss")
    bad = (
        """
        criterion = nn.BCEWithLogitsLoss()
        for x, labels in loader:
            optimizer.zero_grad()
            outputs = model(x)
            loss = criterion(labels.float(), outputs.squeeze(1))
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            loss = F.cross_entropy(y, model(x))
        """,
    )
    fixed = (
        """
        criterion = nn.BCEWithLogitsLoss()
        for x, labels in loader:
            optimizer.zero_grad()
            outputs = model(x)
            loss = criterion(outputs.squeeze(1), labels.float())
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
        """,
    )
    good = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 2)

            def forward(self, x):
                return self.fc(x)

        net = Net()
        for x, output in loader:
            y = net(x)
            loss = F.cross_entropy(y, output)
        """,
        """
        criterion = nn.MSELoss()  # of both alike
        for x, y in loader:
            loss = criterion(y, model(x))
        """,
        """
        teacher_targets = teacher(x)
        loss = F.cross_entropy(model(x), teacher_targets.softmax(-1)) + F.cross_entropy(target_logits, outputs.softmax(-1))
        """,
        """
        def loss_fn(y, logits):
            return F.cross_entropy(input=logits, target=y)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in script.losses:
            given, target = loss.call.argument(0), loss.call.argument(1)
            if loss.kind in ONE_SIDED and loss.certain and given is not None and target is not None:
                first, second = _plain(given), _plain(target)
                made = any(layer.name.startswith("torch.nn.") for path in loss.inputs for layer in path)
                if not made and _is(LABELS, SCORES, first) and (_is(SCORES, LABELS, second) or _is_of_model(second)):
                    yield self.at(loss, f"is given the labels `{first}` first, and what is predicted as their target")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for loss in script.losses:
            given, target = loss.call.argument(0), loss.call.argument(1)
            if loss.location == finding.location and given is not None and target is not None:
                return Fix((edit.swap(given, target),), safe=False)
        return None


def _plain(value: Value) -> Value:
    """Without what only changes the shape or the type."""
    while value.kind == "call" and value.method in SAME and value.receiver is not None:
        value = value.receiver
    return value


def _is(one: re.Pattern[str], other: re.Pattern[str], value: Value) -> bool:
    return value.kind == "name" and one.fullmatch(value.name) is not None and other.fullmatch(value.name) is None


def _is_of_model(value: Value) -> bool:
    return value.kind == "call" and MODEL.fullmatch(value.name) is not None
