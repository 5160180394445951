"""ML194."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern, used
from modellint.source.code import Value
from modellint.source.facts import Loss

ONE_SIDED = frozenset({"CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss"})
LABELS = pattern(
    r"(self\.)?(\w+_)?(targets?|labels?|y|y_true|gts?|ground_truths?|gold)(_(b|batch|ids?|var|onehot|tensor))?"
)
SCORES = pattern(
    r"(self\.)?(\w+_)?(preds?|predictions?|outputs?|outs?|logits?|scores?|log_?p|log_?probs?|y_?hat|y_?preds?|y_?prob\w*)(_(b|batch|flat|var))?"
)
TRUTH, INPUT = frozenset({"target", "targets", "label", "labels"}), frozenset({"input", "inputs"})
MODEL = pattern(r"(self\.)?(\w+_)?(model|net|network|classifier|discriminator)")
TRIPLETS = frozenset({"TripletMarginLoss", "TripletMarginWithDistanceLoss"})
POSITIVE, NEGATIVE = frozenset({"positive", "positives", "pos", "p"}), frozenset({"negative", "negatives", "neg", "n"})
TOKENS = pattern(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
SAME = frozenset(
    "long float to cuda cpu view reshape squeeze unsqueeze flatten contiguous type_as type int detach".split()
)


class SwappedLossArguments(SourceRule):
    """A loss is given the labels where it takes the scores and the reverse, or a negative sample where it takes a positive one.

    Why: losses of PyTorch take the prediction first, those of scikit-learn and Keras the truth. Cross entropy of the
        truth, with the scores as its target, is another function: where shapes and types happen to fit, training
        minimises something else without an error. A triplet loss with the negative before the positive pulls unlike
        samples together and pushes like ones apart.
    Fix: put the prediction first: `criterion(output, target)`; of a triplet the anchor, the positive, the negative.
    Ignore: nothing, except names that say the opposite of what they hold.
    Reported: https://github.com/isaaccorley/detcon-pytorch/pull/2
    """

    code, severity, certain, topic = "ML194", Severity.ERROR, True, "loss"
    words = (
        used("cross_entropy"),
        "CrossEntropyLoss",
        used("nll_loss"),
        "NLLLoss",
        "BCELoss",
        "BCEWithLogitsLoss",
        "TripletMargin",
        used("triplet_margin_loss"),
        used("triplet_margin_with_distance_loss"),
    )
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
        """
        triplet = nn.TripletMarginLoss(margin=1.0)
        for anchor, positive, negative in loader:
            loss = triplet(net(anchor), net(negative), net(positive))
        """,
        """
        out_a, out_p, out_n = net(a), net(p), net(n)
        loss = F.triplet_margin_loss(out_a, out_n, out_p, margin=0.3)
        """,
        """
        class Focal(nn.Module):
            def __init__(self):
                super().__init__()
                self.ce = nn.CrossEntropyLoss()

            def forward(self, input, target):
                return (1 - torch.exp(-self.ce(target, input))) ** 2 * self.ce(input, target)
        """,
        """
        nll = torch.nn.NLLLoss(ignore_index=0)

        def loss_fn(logp, target):
            return nll(target[:, 1:].reshape(-1), logp) + nll(target, logp.view(-1, logp.size(2)))
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
        """
        triplet = nn.TripletMarginLoss(margin=1.0)
        for anchor, positive, negative in loader:
            loss = triplet(net(anchor), net(positive), net(negative))
        """,
        """
        out_a, out_p, out_n = net(a), net(p), net(n)
        loss = F.triplet_margin_loss(out_a, out_p, out_n, margin=0.3)
        """,
    )
    good = (
        """
        for inputs, y in loader:
            y = decoder(encoder(inputs))
            loss = F.binary_cross_entropy(y, inputs)
        """,
        """
        triplet = nn.TripletMarginLoss(margin=1.0)
        for anchor, positive, negative in loader:
            loss = triplet(net(anchor), net(positive), net(negative)) + triplet(net(anchor), net(n), net(m))
            loss = loss + triplet(anchor=net(anchor), negative=net(negative), positive=net(positive))
            loss = loss + triplet(net(anchor), negative_head(positive), positive_head(negative))
        """,
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
        for loss in (loss for loss in script.losses if loss.certain):
            given, target = _sides(loss)
            if given is None or target is None:
                continue
            if loss.kind in TRIPLETS:
                if _tells(given, NEGATIVE, POSITIVE) and _tells(target, POSITIVE, NEGATIVE):
                    yield self.at(loss, f"is given the negative `{given}` before the positive `{target}`")
            elif loss.kind in ONE_SIDED:
                first, second = _plain(given), _plain(target)
                made = any(layer.name.startswith("torch.nn.") for path in loss.inputs for layer in path)
                predicted = _is(SCORES, LABELS, second) or _is_of_model(second)
                handed = first.name in TRUTH and second.name in INPUT  # as losses of torch call their parameters
                if not made and (handed or (_is(LABELS, SCORES, first) and predicted)):
                    yield self.at(loss, f"is given the labels `{first}` first, and what is predicted as their target")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for loss in script.losses:
            given, target = _sides(loss)
            if loss.location == finding.location and given is not None and target is not None:
                return Fix((edit.swap(given, target),), safe=False)
        return None


def _sides(loss: Loss) -> tuple[Value | None, Value | None]:
    """The two arguments that may have changed places."""
    if loss.kind in TRIPLETS:
        return loss.call.argument(1, "positive"), loss.call.argument(2, "negative")
    return loss.call.argument(0), loss.call.argument(1)


def _tells(value: Value, wanted: frozenset[str], other: frozenset[str]) -> bool:
    """Whether the names of a value say one thing and not its opposite."""
    tokens = {token.lower() for part in value.within() for token in TOKENS.findall(part.name)}
    return not wanted.isdisjoint(tokens) and other.isdisjoint(tokens)


def _plain(value: Value) -> Value:
    """Without what only changes the shape or the type."""
    while value.kind == "call" and value.method in SAME and value.receiver is not None:
        value = value.receiver
    return value


def _is(one: re.Pattern[str], other: re.Pattern[str], value: Value) -> bool:
    return value.kind == "name" and one.fullmatch(value.name) is not None and other.fullmatch(value.name) is None


def _is_of_model(value: Value) -> bool:
    return value.kind == "call" and MODEL.fullmatch(value.name) is not None
