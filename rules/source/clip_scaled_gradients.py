"""ML106."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.diagnostic import Fix
from modellint.core.edit import insert, move
from modellint.measure import clipping
from modellint.measure.statistics import median
from modellint.measure.step import Clip
from modellint.source.facts import Act, TrainingLoop


def _run(seen: float) -> Run:
    steps = (Step(i, gradient_norm=2.0, loss_scale=65536.0, clips=(Clip(bound=1.0, norm=seen),)) for i in range(3))
    return Run(tuple(steps))


class ClipScaledGradients(SourceRule):
    """Gradients are clipped while they are still multiplied by the scale of a gradient scaler.

    Why: under a `GradScaler` the gradients are tens of thousands of times too large until `unscale_()` or `step()`
        divides them. A clip before that cuts every step to the bound, and the division then makes it tens of thousands
        of times too small: the model hardly moves, or moves by Adam's rule with the loss's size lost.
    Fix: call `scaler.unscale_(optimizer)` between `backward()` and the clip.
    Ignore: when the bound is multiplied by the scale (not reported where the scale is read).
    Thresholds: a run confirms it when the norm that the clip saw is more than `share` = 0.5 of the scale times the true
        norm.
    Reported: https://github.com/milesial/Pytorch-UNet/issues/468, https://github.com/harubaru/waifu-diffusion/issues/64
    """

    code, severity, certain, topic = "ML106", Severity.ERROR, True, "gradients"
    explains = ("update-too-large", "loss-not-falling")
    remedy = "move-clip"
    words = (("clip_grad", "scale"), ("clip_grad", "Scaler"))
    share = 0.5
    bad = (
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        """,
        """
        from torch.cuda.amp import GradScaler

        class Trainer:
            def __init__(self, model):
                self.model = model
                self.optimizer = torch.optim.AdamW(model.parameters())
                self.scaler = GradScaler()

            def clip(self):
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)

            def update(self, batch):
                scaled = self.scaler.scale(self.model(batch).loss)
                scaled.backward()
                self.clip()
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.optimizer.zero_grad()
        """,
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        """,
    )
    fixed = (
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        """,
        None,
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        """,
    )
    good = (
        """
        scaler = torch.cuda.amp.GradScaler()
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        """,
        """
        scaler = torch.cuda.amp.GradScaler() if use_amp else None
        for x, y in loader:  # one arm scales, the other clips
            optimizer.zero_grad()
            output = loss(model(x), y)
            if use_amp:
                scaler.scale(output).backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                output.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
        """,
        """
        from apex import amp
        for x, y in loader:  # the scale is gone when the context ends
            with amp.scale_loss(loss(model(x), y), optimizer) as scaled:
                scaled.backward()
            torch.nn.utils.clip_grad_norm_(amp.master_params(optimizer), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        """,
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:  # the first optimizer's gradients are unscaled, the second has no clip
            (g_loss(x) + scaler.scale(d_loss(x, y))).backward()
            scaler.unscale_(d_optimizer)
            torch.nn.utils.clip_grad_norm_(discriminator.parameters(), 1.0)
            scaler.step(d_optimizer)
            scaler.step(g_optimizer)
            scaler.update()
        """,
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:  # one optimizer after the other
            (g_loss(x) + scaler.scale(d_loss(x, y))).backward()
            scaler.unscale_(d_optimizer)
            torch.nn.utils.clip_grad_norm_(discriminator.parameters(), 1.0)
            scaler.unscale_(g_optimizer)
            torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
            scaler.step(d_optimizer)
            scaler.step(g_optimizer)
            scaler.update()
        """,
        """
        scaler = torch.amp.GradScaler("cuda", enabled=False)
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        """,
    )
    confirmed_by = _run(131072.0)
    not_confirmed_by = _run(2.0)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not script.attributes & {"get_scale", "_scale", "inv_scale", "loss_scale"}:
            for loop in script.training_loops:
                for clip in loop.clips:
                    if _step(loop, clip) is not None:
                        yield self.at(clip, "clips gradients that the scaler has not unscaled yet")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        seen = [(c.norm, s.gradient_norm, s.loss_scale) for s, c in clipping.calls(run, finding.location)]
        scaled = [(norm / true, scale) for norm, true, scale in seen if norm and true and scale and scale > 1]
        if not scaled:
            return None
        ratio, scale = median(r for r, _ in scaled), median(s for _, s in scaled)
        claim = "norm that the clip saw / true gradient norm"
        return Evidence(claim, ratio, self.share * scale, holds=ratio > self.share * scale)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for loop in script.training_loops:
            for clip in loop.clips:
                step = _step(loop, clip) if clip.location == finding.location else None
                late = [act for act in loop.after(clip) if act.kind == "unscale"]
                if step is not None and len(late) == 1:
                    return Fix((move(late[0], before=clip),))
                if step is not None and not late:
                    return Fix((insert("{receiver}.unscale_({0|optimizer})", of=step, before=clip),))
        return None


def _step(loop: TrainingLoop, clip: Act) -> Act | None:
    """The scaler's step that uses what is clipped between a backward() from a scaled loss and its division."""
    for step in (act for act in loop.after(clip) if act.kind == "step" and act.scaled and not clip.owner):
        acts = [act for act in loop.before(step) if act.kind in ("backward", "unscale", "step", "clip")]
        after, before = acts[: acts.index(clip)], acts[acts.index(clip) + 1 :]
        before = [act for act in before if act.kind != "clip" and not act.excludes(clip)]
        if (
            all(act.kind in ("clip", "unscale") for act in after)
            and before
            and before[0].kind == "backward"
            and before[0].scaled
        ):
            return step
    return None
