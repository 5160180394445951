"""ML104."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.measure import clipping
from modellint.measure.step import Clip
from modellint.source import lookup
from modellint.source.facts import Act, TrainingLoop

UNREACHED = 1e6  # the norm of gradients is never as large


def _run(applied: float) -> Run:
    clip = Clip(bound=1.0, norm=applied, after_step=True)
    return Run(tuple(Step(i, gradient_norm_at_step=applied, clips=(clip,)) for i in range(3)))


class ClipAfterStep(SourceRule):
    """Gradients are clipped after the optimizer has used them.

    Why: `step()` applies the raw gradients; the clip then shortens gradients that nobody reads, so that nothing bounds
        the update.
    Fix: move the call between `backward()` and `step()`.
    Ignore: never; a norm that is only to be logged can be read before `step()` too.
    Reported: https://github.com/VGraphRNN/VGRNN/issues/4
    """

    code, severity, certain, topic = "ML104", Severity.ERROR, True, "gradients"
    explains, twins = ("exploding-gradients",), ("clip-without-effect",)
    remedy = "move-clip"
    words = ("clip_grad", ".backward(")
    bad = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        """,
        """
        def limit(net):
            torch.nn.utils.clip_grad_value_(net.parameters(), 0.5)

        for x, y in loader:
            opt.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.step(opt)
            scaler.update()
            limit(model)
        """,
    )
    fixed = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
        None,
    )
    good = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
        """
        for x, y in loader:  # the step before the clip is that of another optimizer
            (actor_loss(x) + critic_loss(x, y)).backward()
            critic_optimizer.step()
            torch.nn.utils.clip_grad_norm_(actor.parameters(), 1.0)
            actor_optimizer.step()
            critic_optimizer.zero_grad()
            actor_optimizer.zero_grad()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            print(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9))  # the norm that was applied
        """,
        """
        for i, batch in enumerate(loader):  # only one of the two arms is taken
            loss(batch).backward()
            if use_amp:
                scaler.step(optimizer)
            else:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            optimizer.zero_grad()
        """,
    )
    confirmed_by = _run(7.5)
    not_confirmed_by = _run(0.3)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for clip in loop.clips:
                if _is_late(loop, clip):
                    yield self.at(clip, "clips the gradients after `step()` has used them")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        return clipping.applied(run, finding.location)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for loop, clip in lookup.acts(script, finding):
            since_backward = list(takewhile(lambda act: act.kind != "backward", loop.before(clip)))
            first = next((act for act in reversed(since_backward) if act.kind == "step"), None)
            if first is not None and lookup.share_function(script, clip, first):
                scaled = first.scaled and not any(act.kind == "unscale" for act in loop.before(first))
                unscale = (edit.insert("{receiver}.unscale_({0})", of=first, before=first),) if scaled else ()
                return Fix((*unscale, edit.move(clip, before=first)))
        return None


def _is_late(loop: TrainingLoop, clip: Act) -> bool:
    """A step comes before it, and no backward(); one that comes after it makes gradients for this clip, unless it is sure
    that the clip is that step's."""
    before = next((act for act in loop.before(clip) if act.kind in ("backward", "step")), None)
    after = next((act.kind for act in loop.after(clip) if act.kind in ("backward", "step")), "")
    if before is None or before.kind == "backward" or after == "step" or _measures(clip):
        return False
    return clip.shares(before.parameters) if after == "backward" else clip.concerns(before)


def _measures(clip: Act) -> bool:
    """Whether nothing reaches the bound: only the norm that it gives back is asked for."""
    return clip.kept and bool(clip.bound) and all(bound >= UNREACHED for bound in clip.bound)
