"""ML114."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.pattern import used
from modellint.measure import sides
from modellint.measure.quantities import Distribution, Pair
from modellint.source import outputs
from modellint.source.facts import Loss

PLAIN = ("softmax", "sigmoid", "scores")
LOG_TARGET = {"KLDivLoss": 3, "kl_div": 5}  # its position


class KlDivInputNotLog(SourceRule):
    """The Kullback-Leibler divergence is given probabilities where it takes their logarithm, or the reverse.

    Why: `kl_div(input, target)` is target * (log target - input): it takes log-probabilities of the model, and
        probabilities as target unless `log_target=True`. Otherwise it is no divergence at all: it may be negative, and
        its minimum is not where both distributions agree.
        Its default reduction is suspected as well: it divides by the number of classes, which makes the term so much smaller.
    Fix: `F.kl_div(F.log_softmax(student, -1), F.softmax(teacher, -1), reduction="batchmean")`; with a log-softmax
        of the teacher add `log_target=True`.
    Ignore: hardly ever.
    Reported: https://github.com/microsoft/ProDA/issues/20,
        https://github.com/sebastian-hofstaetter/matchmaker/issues/18
    """

    code, severity, certain, topic = "ML114", Severity.ERROR, True, "structure"
    remedy = "log-probabilities"
    words = ("KLDivLoss", used("kl_div"))
    bad = (
        """
        student = F.softmax(model(x), dim=1)
        loss = F.kl_div(student, F.softmax(teacher(x), dim=1), reduction="batchmean")
        """,
        """
        class Distillation(nn.Module):
            def __init__(self):
                super().__init__()
                self.kl = nn.KLDivLoss(reduction="batchmean")

            def forward(self, student, teacher):
                return self.kl(student.log_softmax(-1), teacher.log_softmax(-1))
        """,
        """
        head = nn.Linear(64, 10)
        loss = nn.KLDivLoss()(head(x), torch.softmax(teacher(x), 1))
        """,
        """
        loss = F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1), reduction="batchmean", log_target=True)
        """,
        """
        loss = F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1)) * temperature**2
        """,
    )
    good = (
        """
        loss = F.kl_div(F.log_softmax(student / t, dim=1), F.softmax(teacher / t, dim=1), reduction="batchmean") * t * t
        """,
        """
        each = F.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="none").sum(-1)
        old = nn.KLDivLoss(size_average=False)(student.log_softmax(-1), teacher.softmax(-1)) / len(student)
        loss = nn.KLDivLoss(reduction="batchmean", log_target=True)(student.log_softmax(-1), teacher.log_softmax(-1))
        """,
        """
        probabilities = torch.softmax(model(x), dim=1)
        loss = F.kl_div(probabilities.clamp(min=1e-7).log(), target, reduction="batchmean")
        """,
        """
        from torch.distributions import Normal, kl_divergence
        loss = kl_divergence(Normal(mean, std), prior)
        """,
        """
        options = {"log_target": True}
        loss = F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), **options)
        """,
    )
    confirmed_by = Run((Step(pair=Pair(input=Distribution(min=0.01, max=0.8))),) * 3)
    not_confirmed_by = Run((Step(pair=Pair(input=Distribution(min=-9.0, max=-0.1))),) * 3)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in (loss for loss in script.losses if loss.kind == "KLDivLoss"):
            yield from self._judge_input(loss)
            yield from self._judge_target(loss)
            if _averages(loss) and outputs.ending(loss.inputs, ("log-softmax",)):
                yield self.at(loss, "averages over the classes too: `batchmean` is the divergence", certain=False)

    def _judge_input(self, loss: Loss) -> Iterator[Diagnostic]:
        found = outputs.ending(loss.inputs, PLAIN)
        if found is not None:
            operation, sure = found
            where = outputs.written(operation, loss.location)
            swapped = outputs.ending(loss.targets, ("log-softmax",)) is not None
            more = "; its two arguments are in each other's place" if swapped else ""
            message = f"takes log-probabilities and is given the result of the {where}{more}"
            yield self.at(loss, message, certain=sure and loss.certain)

    def _judge_target(self, loss: Loss) -> Iterator[Diagnostic]:
        log = _log_target(loss)
        found = None if log is None else outputs.ending(loss.targets, ("softmax",) if log else ("log-softmax",))
        if found is not None and not outputs.ending(loss.inputs, PLAIN):
            operation, sure = found
            where = outputs.written(operation, loss.location)
            expected = "log-probabilities as target (`log_target=True`)" if log else "probabilities as target"
            yield self.at(
                loss, f"takes {expected} and is given the result of the {where}", certain=sure and loss.certain
            )

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        if "as target" in finding.message or "batchmean" in finding.message:
            return None
        highest = [pair.input.max for pair in sides.of_loss(run, finding.location) if pair.input.max is not None]
        if not highest:
            return None
        return Evidence("highest log-probability", min(highest), 0.0, holds=min(highest) > 0, series=tuple(highest))


def _averages(loss: Loss) -> bool:
    """Whether the mean goes over each entry: the default, which PyTorch warns of."""
    settings = loss.settings
    given = settings.argument(2 if loss.made else 4, "reduction")
    positional = 0 if loss.made else 2
    old = (
        len(settings.arguments) > positional or settings.unpacks or settings.argument(None, "size_average") is not None
    )
    return given.constant == "mean" if given is not None else not old


def _log_target(loss: Loss) -> bool | None:
    """None where it cannot be read."""
    settings = loss.settings
    given = settings.argument(LOG_TARGET["KLDivLoss" if loss.made else "kl_div"], "log_target")
    if given is None:
        return None if settings.unpacks else False
    return given.constant if isinstance(given.constant, bool) else None
