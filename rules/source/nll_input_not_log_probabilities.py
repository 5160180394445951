"""ML113."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.pattern import pattern, used
from modellint.measure.quantities import Logits
from modellint.source import lookup, outputs
from modellint.source.facts import Loss, Operation

CLASSIFIER = pattern(r"torchvision\.models\.[a-z]\w*")  # each gives the raw scores of its last layer
LOGARITHMS = ("LogSoftmax", "log_softmax", "logsigmoid", "LogSigmoid")


def _run(log_probabilities: bool) -> Run:
    return Run(tuple(Step(i, logits=Logits(10, 5, log_probabilities=log_probabilities)) for i in range(3)))


class NllInputNotLogProbabilities(SourceRule):
    """A negative log likelihood, or the CTC loss, is given probabilities or raw scores, where it takes log-probabilities.

    Why: `nll_loss` takes no logarithm; it returns the negated input at the label. Over probabilities the loss is an
        accuracy between -1 and 0, whose gradient vanishes where the model is confidently wrong; over raw scores it has
        no lower bound, since every score may grow. `CTCLoss` sums the same numbers over alignments.
    Fix: apply `log_softmax` instead of `softmax`, or give the raw scores to `cross_entropy`.
    Ignore: when the expected accuracy itself is meant to be maximised.
    Reported: https://github.com/AnubhavGupta3377/Text-Classification-Models-Pytorch/issues/9,
        https://github.com/yanx27/Pointnet_Pointnet2_pytorch/issues/30, https://github.com/gwx314/STARS/issues/9
    """

    code, severity, certain, topic = "ML113", Severity.ERROR, True, "structure"
    twins = ("softmax-before-loss",)
    remedy = "log-probabilities"
    words = ("NLLLoss", used("nll_loss"), "CTCLoss", used("ctc_loss"))
    bad = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(20, 64)
                self.head = nn.Linear(64, 10)
                self.softmax = nn.Softmax(dim=1)

            def forward(self, x):
                return self.softmax(self.head(F.relu(self.body(x))))

        net = Net()
        criterion = nn.NLLLoss()
        for x, y in loader:
            loss = criterion(net(x), y)
        """,
        """
        def step(self, x, y):
            probabilities = torch.softmax(self.model(x), dim=1).view(-1, 10)
            return F.nll_loss(probabilities, y)
        """,
        """
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
        loss = F.nll_loss(model(x), y)
        """,
        """
        class Recogniser(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.LSTM(32, 64, bidirectional=True)
                self.head = nn.Linear(128, 11)

            def forward(self, x):
                return self.head(self.rnn(x)[0])

        model, criterion = Recogniser(), nn.CTCLoss()
        for x, y, lengths in loader:
            scores = model(x)
            loss = criterion(scores, y, torch.full((len(x),), scores.size(0)), lengths)
        """,
        """
        logits = head(encoder(x))
        loss = F.ctc_loss(logits.transpose(0, 1).softmax(-1), y, x_lengths, y_lengths)
        """,
        """
        model = torchvision.models.resnet18(num_classes=10)
        model = torch.nn.DataParallel(model).cuda()
        criterion = nn.NLLLoss().cuda()
        for x, y in loader:
            loss = criterion(model(x), y)
        """,
    )
    good = (
        """
        model = torchvision.models.vgg16(weights="DEFAULT")
        model.classifier = nn.Sequential(nn.Linear(25088, 102), nn.LogSoftmax(dim=1))
        criterion = nn.NLLLoss()
        for x, y in loader:
            loss = criterion(model(x), y)
        """,
        """
        class Reader(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn, self.out = nn.LSTM(40, 64, batch_first=True), nn.Linear(64, 30)

            def forward(self, x):
                return self.out(self.rnn(x)[0])

        model, ctc = Reader(), nn.CTCLoss(blank=0)
        for x, y, x_lengths, y_lengths in loader:
            scores = model(x).transpose(0, 1)
            loss = ctc(scores.log_softmax(2), y, x_lengths, y_lengths)
            loss = loss + F.ctc_loss(log_probs=F.log_softmax(scores, -1), targets=y, input_lengths=x_lengths)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(64, 10)

            def forward(self, x):
                return F.log_softmax(self.head(x), dim=1)

        loss = F.nll_loss(Net()(x), y)
        """,
        """
        net = nn.Linear(64, 10)
        if True:  # the other arm is never executed
            loss = F.cross_entropy(net(x), y)
        else:
            loss = F.nll_loss(net(x), y)
        """,
        """
        recogniser = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 11))
        loss = F.ctc_loss(recogniser(x).log_softmax(2), y, sizes, lengths)
        """,
        """
        probabilities = torch.softmax(model(x), dim=1)
        loss = F.nll_loss(torch.log(probabilities + 1e-9), y)
        """,
        """
        loss = nn.NLLLoss()(model(x), y)  # the model is in another file
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(64, 10)

            def forward(self, x):
                x = self.head(x)
                if not self.training:
                    return F.softmax(x, dim=1)
                return F.log_softmax(x, dim=1)

        loss = F.nll_loss(Net()(x), y)
        """,
        """
        class Net(nn.Module):
            def __init__(self, raw=False):
                super().__init__()
                self.head, self.raw = nn.Linear(64, 10), raw

            def forward(self, x):
                scores = self.head(x)
                return scores if self.raw else scores.log_softmax(dim=-1)

        loss = F.nll_loss(Net()(x), y)
        """,
    )
    confirmed_by = _run(False)
    not_confirmed_by = _run(True)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in (loss for loss in script.losses if loss.kind in ("NLLLoss", "CTCLoss")):
            found = outputs.ending(loss.inputs, ("softmax", "scores", "sigmoid"), ("log-softmax", "log-sigmoid"))
            if found is not None:
                operation, sure = found
                given = "raw scores" if outputs.kind(operation) == "scores" else "probabilities"
                message = f"takes log-probabilities and is given the {given} of the "
                yield self.at(loss, message + outputs.written(operation, loss.location), certain=sure and loss.certain)
            elif model := _classifier(script, loss):
                message = f"takes log-probabilities and is given the raw scores of torchvision's `{model.short}`"
                yield self.at(loss, message, certain=loss.certain)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        seen = [s.logits.log_probabilities for s in run.steps if s.logits and s.logits.log_probabilities is not None]
        if not seen:
            return None
        claim = "share of steps whose rows are log-probabilities"
        return Evidence(claim, sum(seen) / len(seen), 1.0, holds=not any(seen))

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """The loss takes raw scores, or the softmax that nothing else reads takes the logarithm."""
        for loss in _at(script, finding):
            found = outputs.ending(loss.inputs, ("softmax", "scores"))
            if found is None or not found[1]:
                return None
            if outputs.kind(found[0]) == "scores" and loss.made is None and loss.kind == "NLLLoss":
                return Fix((edit.rename(loss, "cross_entropy"),), safe=False)
            if outputs.kind(found[0]) == "scores" and loss.kind == "NLLLoss" and loss.made is not None:
                here = loss.made.location.path == script.path
                return Fix((edit.rename(loss.made, "CrossEntropyLoss"),), safe=False) if here else None
            if found[0].short == "softmax" and lookup.share_function(script, loss, found[0]):
                return Fix((edit.rename(found[0], "log_softmax"),), safe=False)
        return None


def _classifier(script: Script, loss: Loss) -> Operation | None:
    """A model of torchvision that the loss is given the output of, where nothing in the file takes a logarithm."""
    heads = [outputs.head(path) for path in loss.inputs]
    found = [head for head in heads if head is not None and CLASSIFIER.fullmatch(head.name)]
    if len(found) != len(heads) or any(name in script.attributes or name in script.called for name in LOGARITHMS):
        return None
    return next((head for head in found if loss.kind == "NLLLoss" and head.location.path == script.path), None)


def _at(script: Script, finding: Diagnostic) -> Iterator[Loss]:
    return (loss for loss in script.losses if loss.location == finding.location)
