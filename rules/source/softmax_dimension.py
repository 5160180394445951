"""ML115."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule
from modellint.core.pattern import pattern, used
from modellint.measure import examined
from modellint.source import accuracy, lookup, outputs, tensors
from modellint.source.code import Function, Value
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
LABELS = pattern(r"(\w+_)?(y|labels?|targets?|truth|gt)s?")
NORMS = frozenset({"BatchNorm1d", "BatchNorm2d", "Flatten"})


class SoftmaxDimension(SourceRule):
    """A softmax, or the choice of the best class, runs over the batch instead of the classes, or gives the scores and no classes.

    Why: over axis 0 of a batch the scores of different samples compete: each prediction depends on what else is in the
        batch, and every class is predicted for some sample. Without `dim` PyTorch guesses the axis from the number of
        axes (0 for a vector or three axes, else 1), and warns. An `argmax` without `dim` gives one place of the whole
        batch. The first result of `max` holds the greatest scores, which equal no label; the second,
        the indices, holds the classes.
    Fix: name the axis of the classes: `dim=-1`, or `dim=1` where more axes follow; `scores.argmax(1)`.
    Ignore: when axis 0 is not the batch, as for the scores of a single sample. The choice of the best class is only
        suspected in a file that neither goes over a loader nor has a loss of PyTorch, which take the batch first.
    Reported: https://github.com/perone/euclidesdb/issues/2,
        https://github.com/DeepReinforcementLearning/DeepReinforcementLearningInAction/issues/32
    """

    code, severity, certain, topic = "ML115", Severity.ERROR, True, "structure"
    twins = ("batch-mixing",)
    words = (
        ("oftm", pattern(
            rb"oftm(?:ax|in)(?<![a-fh-zA-Z\"'][sS]oftm(?:ax|in))(?<!(?<!log)_softm(?:ax|in))(?<!_log_softm(?:ax|in))\("
            rb"(?!(?:[^()]|\((?:[^()]|\([^()]*\))*\))*?(?:\b(?:dim|axis)\b|,\s*-?\d+\s*[,)]))")),
        *(f"max({axis}{end}" for axis in ("0", "dim=0", "axis=0") for end in (")", ", keepdim")),
        *((name, pattern(rb"torch\.(?:arg)?max\(.+, *(?:dim=)?0\)")) for name in ("torch.max(", "torch.argmax(")),
        ("compute_metrics", "argmax("), ("argmax(", pattern(rb"\bnp\.argmax\(.+, *(?:axis=)?0\)")),
        used("cross_entropy"), "CrossEntropyLoss", used("nll_loss"), "NLLLoss",
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
        """
        criterion = nn.CrossEntropyLoss()
        for x, y in test_loader:
            predicted, _ = torch.max(model(x), 1)
            correct += (predicted == y).sum().item()
        """,
        """
        from torch.utils.data import DataLoader

        test_loader = DataLoader(data, batch_size=64)
        criterion = nn.CrossEntropyLoss()
        for x, y in test_loader:
            output = model(x)
            correct += output.argmax().eq(y).sum().item()
        """,
        """
        for x, y in test_loader:
            _, predicted = torch.max(model(x), 0)
            correct += (predicted == y).sum().item()
        """,
        """
        criterion = nn.CrossEntropyLoss()
        for i, (x, y) in enumerate(tqdm(DataLoader(data, batch_size=64))):
            scores = cnn(x)
            loss = criterion(scores, y)
            scores = torch.max(scores.data, 0)[1]
            correct += (scores == y.data).sum().item()
        """,
        """
        from torch.utils.data import DataLoader

        for x, y in DataLoader(data, batch_size=64):
            scores = cnn(x)
            probabilities = nn.Softmax(dim=1)(scores)
            predicted = torch.max(probabilities, 0)[1]
            loss = F.cross_entropy(scores, y)
            correct += torch.sum(predicted == y)
        """,
        """
        import numpy as np

        def compute_metrics(prediction):
            logits, labels = prediction
            return {"accuracy": (np.argmax(logits, axis=0) == labels).mean()}

        trainer = Trainer(model, args, compute_metrics=compute_metrics)
        """,
        """
        import numpy as np

        def scores(prediction):
            labels = prediction.label_ids
            return {"accuracy": (prediction.predictions.argmax(0) == labels).mean()}

        trainer = Trainer(model, args, compute_metrics=scores)
        """,
        """
        def test(net, test_loader):
            for x, y in test_loader:
                out = net(x)
                predicted = out.data.cpu().max(0, keepdim=True)[1]
                correct += predicted.eq(y.view_as(predicted)).sum().item()
        """,
        """
        import numpy as np
        from sklearn.metrics import accuracy_score

        def report(model, x, y):
            outputs = model(x)
            predicted = np.argmax(outputs.detach().cpu().numpy(), axis=0)
            print(accuracy_score(y, predicted))
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
        for x, y in data:
            scores = model(x)  # of one sample
            correct += (scores.argmax(0) == y).sum().item()
            inside = (model(x[None])["out"][0].argmax(0) == mask).float().mean()

            alone = (model(x[:1]).squeeze(0).cpu().argmax(0) == y[0]).float().mean()

        for x, y in loader:
            votes = torch.stack([net(x).argmax(1) for net in nets])
            agree = (votes.mode(0)[0] == y).float().mean()
        """,
        """
        from torch.utils.data import DataLoader

        for x, y in DataLoader(data, batch_size=64):
            weights = model.rate(x)
            best = weights.argmax(0)
            weights = model(x[best])
            loss = F.cross_entropy(weights, y)
            weights = weights.mean(1)
            worst = weights.argmax(0)
        """,
        """
        test_loader = torch.utils.data.DataLoader(data, batch_size=1)
        criterion = nn.CrossEntropyLoss()
        for x, y in test_loader:
            for scores in model(x):
                seen += (scores.argmax() == y).sum()
        """,
        """
        from torch_geometric.utils import softmax
        weights = softmax(scores, index)
        """,
    )

    suspected = (
        """
        for images, texts in loader:
            logits = model(images, texts)
            labels = torch.arange(len(images))
            loss = F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)
            t2i = (logits.argmax(dim=0) == labels).float().mean()
        """,
        """
        loader = DataLoader(data, batch_size=32)
        for images, labels in loader:
            loss = F.cross_entropy(model(images), labels)
            for image, label in zip(images, labels):
                correct += (model(image[None]).argmax() == label).sum().item()
        """,
        """
        def accuracy(net, x, y):
            return (net(x).argmax(0) == y).float().mean()
        """,
        """
        import numpy as np

        criterion, x = ColumnwiseCrossEntropy(), torch.from_numpy(points).T  # [features, batch]
        logits = model(x)
        predicted = np.argmax(logits.detach().numpy(), axis=0)
        accuracy = np.mean(predicted == y.numpy())
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        losses = [loss for loss in script.losses if loss.kind in CLASS_LOSSES]
        for loss in losses:
            yield from self._normalised(loss)
            yield from self._chosen(script, loss)
        given = (call.argument(None, "compute_metrics") for call in script.calls)
        metrics = {"compute_metrics", *(value.name for value in given if value is not None and value.name)}
        for function in script.functions:
            yield from self._compared(script, function, bool(losses))  # they take the batch first
            if function.name.rpartition(".")[2] in metrics and len(function.parameters) == 1 + bool(function.owner):
                yield from self._metric(function)
        for call in script.calls:
            if call.name in GUESSES and tensors.axis(call) is None and not call.unpacks:
                message = f"leaves it to `{call.method}` to guess the axis that it runs over"
                yield self.at(call, message, severity=Severity.NOTE)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        """Samples that meet convict; where they do not, the softmax may come after the model."""
        evidence = examined.mixing(run) if "for the loss" in finding.message else None
        return evidence if evidence is not None and evidence.holds else None

    def _normalised(self, loss: Loss) -> Iterator[Diagnostic]:
        """The softmax whose result is the loss's input, as it is."""
        for path in loss.inputs:
            head, *before = [step for step in path if step.short not in ("log", "log_")] or [Operation("")]
            if head.call is not None and outputs.kind(head) in NORMALISES and tensors.axis(head.call) == 0:
                evidence = _batched(before)
                if evidence is not False:
                    message = (
                        f"takes the `{head.short}` over axis 0, the batch, for the loss of line {loss.location.line}"
                    )
                    yield self.at(head.call, message, certain=head.certain and (bool(evidence) or loss.batched))

    def _compared(self, script: Script, function: Function, known: bool) -> Iterator[Diagnostic]:
        """The classes that a model's own output is said to predict, compared with the labels and counted."""
        for choice in accuracy.choices(function):
            call, batches = choice.call, next(iter(choice.loaders), known)
            if choice.values:
                if any(LABELS.fullmatch(label.method) for label in choice.labels):
                    message = "compares the greatest scores with the labels: the classes are `max(...)[1]`"
                    yield self.at(call, message, certain=known and choice.given)
            elif tensors.axis(call) == 0:
                message = f"takes the `{call.method}` over axis 0, the batch, of the scores"
                yield self.at(call, message, certain=batches and choice.given and not _is_single(script))
            elif _is_whole(call) and any(choice.loaders):
                message = "takes the `argmax` over the whole batch: one place for all samples, where each has its label"
                yield self.at(call, message, certain=batches and choice.given and _is_batched(script))

    def _metric(self, function: Function) -> Iterator[Diagnostic]:
        """What the metrics of a Trainer are computed of: always the whole data, its samples first."""
        given = {parameter.name for parameter in function.parameters}
        parts = {name for name, value in tensors.named(function).items() if _is_part(value, given)}
        for call in (call for call in function.calls if call.method == "argmax"):
            operand = call.argument(0, "a") if call.name == "numpy.argmax" else call.receiver
            if operand is not None and (operand.name in parts or _is_part(operand, given)) and tensors.axis(call) == 0:
                yield self.at(call, "takes the `argmax` over axis 0, the samples, of the predictions")

    def _chosen(self, script: Script, loss: Loss) -> Iterator[Diagnostic]:
        """What the function does with the very scores that it gives the loss."""
        given, function = loss.call.argument(0, "input"), lookup.function(script, loss.location)
        if given is None or given.kind != "name" or function is None:
            return
        for at in _life(function, given.name, loss.call):
            event, call = function.events[at], function.events[at].value
            chooses = event.kind == "call" and call is not None and call.method in CHOOSES and tensors.axis(call) == 0
            if chooses and call is not None and given.name in _chosen_of(call, function, at):
                message = f"takes the `{call.method}` over axis 0, the batch, of the scores"
                yield self.at(call, message, certain=loss.batched)


def _life(function: Function, name: str, use: Value) -> range:
    """The events between the two that bind a name around a call that uses it."""
    place, bindings = tensors.place(function, use) or 0, tensors.bindings(function).get(name, ())
    first = max((at for at in bindings if at < place), default=-1)
    return range(first + 1, min((at for at in bindings if at > place), default=len(function.events)))


def _chosen_of(call: Value, function: Function, at: int) -> Iterator[str]:
    """The names of the tensor over which a call chooses or normalises, and of that before a softmax that keeps its axes."""
    operand = tensors.operand(call)
    if operand is not None:
        yield accuracy.uncast(operand).name
        made = accuracy.followed(operand, function, at)
        squashed = accuracy.uncast(made) if made is not None else None
        if squashed is not None and squashed.kind == "call" and (inner := _squashed(squashed)) is not None:
            yield accuracy.uncast(inner).name


def _squashed(call: Value) -> Value | None:
    if call.base is not None and call.base.name in GUESSES:
        return next(iter(call.arguments), None)
    return tensors.operand(call) if call.method in CHOOSES else None


def _is_whole(choice: Value) -> bool:
    """Whether it is made over all axes at once."""
    return choice.method == "argmax" and tensors.axis(choice) is None and not choice.unpacks


def _is_batched(script: Script) -> bool:
    """Whether the loaders of the file surely give several samples at once."""
    sizes = _sizes(script)
    return bool(sizes) and all(isinstance(size, int) and size > 1 for size in sizes)


def _is_single(script: Script) -> bool:
    """Whether a loader of the file may give one sample, or samples by themselves."""
    return any(size in (1, None) for size in _sizes(script))


def _sizes(script: Script) -> list[object]:
    """The batch sizes of its loaders; NaN for one that cannot be read."""
    given = [c.argument(1, "batch_size") for c in script.calls if c.method == "DataLoader" and not c.unpacks]
    return [1 if size is None else size.constant if size.kind == "constant" else math.nan for size in given]


def _is_part(value: Value, parameters: set[str]) -> bool:
    """The predictions of what a Trainer gives: its first item, or the attribute of that name."""
    first = value.kind == "item" and value.arguments[0].constant == 0 and value.base is not None
    owner = value.base if first else value.receiver if value.kind == "name" and value.method == "predictions" else None
    return owner is not None and owner.name in parameters


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
