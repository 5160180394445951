from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule
from modellint.source.facts import Act, TrainingLoop


class MissingZeroGrad(SourceRule):
    """An optimizer steps in a loop, and its gradients are never cleared.

    Why: `backward()` adds to `.grad`; without clearing, each update applies the sum of all gradients since the start.
    Fix: call `optimizer.zero_grad()` once per step, before `backward()`.
    Ignore: when the gradients are cleared where modellint cannot see it.
    Reported: https://discuss.pytorch.org/t/why-do-we-need-to-set-the-gradients-manually-to-zero-in-pytorch/4903
    """

    code, severity, certain = "ML101", Severity.ERROR, True
    explains = ("stale-gradients",)
    remedy = "zero-grad"
    words = ("backward",)
    bad = """
        for x, y in loader:
            loss(model(x), y).backward()
            optimizer.step()
        """
    good = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            if loop.whole and next(loop.of("backward"), None) is not None:
                yield from self._uncleared(loop)

    def _uncleared(self, loop: TrainingLoop) -> Iterator[Diagnostic]:
        owned = any(act.owner for act in loop.acts if act.kind in ("backward", "step"))
        for step in {step.subjects: step for step in loop.steps}.values():
            if not owned and not any(_clears(act, step) for act in loop.acts):
                yield self.at(step, "steps the optimizer in a loop that never clears its gradients")


def _clears(act: Act, step: Act) -> bool:
    return act.kind == "unknown" or (act.kind == "clear" and act.concerns(step))
