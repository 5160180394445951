"""ML105."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.measure import clipping
from modellint.measure.step import Clip
from modellint.source import lookup
from modellint.source.facts import Act, TrainingLoop

RITUAL = ("clear", "backward", "step")


def _run(applied: float) -> Run:
    clip = Clip(bound=1.0, norm=0.0, after_backward=False)
    return Run(tuple(Step(i, gradient_norm_at_step=applied, clips=(clip,)) for i in range(3)))


class ClipBeforeBackward(SourceRule):
    """Gradients are clipped before `backward()` has made them.

    Why: at that point the gradients are empty, zero or those of the step before; the ones that `backward()` adds
        afterwards reach the optimizer unbounded.
    Fix: move the call between the last `backward()` and `step()`.
    Ignore: never.
    Reported: https://github.com/Cranial-XIX/FAMO/issues/4
    """

    code, severity, certain, topic = "ML105", Severity.ERROR, True, "gradients"
    explains, twins = ("exploding-gradients",), ("clip-without-effect",)
    remedy = "move-clip"
    words = ("clip_grad", ".backward(")
    bad = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            output = loss(model(x), y)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            output.backward()
            optimizer.step()
        """,
        """
        class Trainer:
            def fit(self):
                for batch in self.loader:
                    self.clip()
                    self.optimizer.zero_grad()
                    self.loss(batch).backward()
                    self.optimizer.step()

            def clip(self):
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        """,
    )
    fixed = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            output = loss(model(x), y)
            output.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
        None,
    )
    good = (
        """
        for i, batch in enumerate(loader):  # the gradients of the passes before are clipped
            if i % 4 == 0 and i > 0:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            loss(batch).backward()
        """,
        """
        for batch in loader:
            optimizer.zero_grad()
            for part in batch.split(8):
                loss(part).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
        """
        for real in loader:
            d_loss(real).backward()
            torch.nn.utils.clip_grad_norm_(discriminator.parameters(), 1.0)
            optimizer_d.step()
            optimizer_d.zero_grad()
            g_loss().backward()
            optimizer_g.step()
            optimizer_g.zero_grad()
        """,
    )
    confirmed_by = _run(7.5)
    not_confirmed_by = _run(0.3)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for clip in loop.clips:
                if _is_early(loop, clip):
                    yield self.at(clip, "clips the gradients before `backward()` has made those of this step")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        return clipping.applied(run, finding.location)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for loop, clip in lookup.acts(script, finding):
            step = next((act for act in loop.after(clip) if act.kind == "step"), None)
            if step is not None and lookup.share_function(script, clip, step):
                scaled = step.scaled and not any(act.kind == "unscale" for act in loop.before(step))
                unscale = (edit.insert("{receiver}.unscale_({0})", of=step, before=step),) if scaled else ()
                return Fix((*unscale, edit.move(clip, before=step)))
        return None


def _is_early(loop: TrainingLoop, clip: Act) -> bool:
    """A backward() comes after it and none before it, neither in this pass nor from the pass before."""
    before = [act for act in loop.before(clip) if act.kind in RITUAL]
    after = [act.kind for act in loop.after(clip) if act.kind in RITUAL]
    latest = next((act for act in before if act.kind != "clear"), None)
    if next((kind for kind in after if kind != "clear"), "") != "backward":
        return False
    if latest is None:
        return bool(before) or after[-1] != "backward"
    return latest.kind == "step" and not clip.shares(latest.parameters)
