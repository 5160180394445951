"""ML110."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.measure.statistics import median
from modellint.source import lookup
from modellint.source.facts import MADE, Act, TrainingLoop
from modellint.source.vocabulary import sounds_like_optimizer

CHECKS = frozenset({"isfinite", "isnan", "isinf", "error_if_nonfinite", "found_inf_per_device"})


def _run(applied: float) -> Run:
    steps = (Step(i, gradient_norm=2.0, gradient_norm_at_step=applied, loss_scale=65536.0) for i in range(3))
    return Run(tuple(steps))


class ScalerBypassed(SourceRule):
    """The loss is scaled by a gradient scaler, and the optimizer steps without it.

    Why: the gradients are then those of the loss times a scale that begins at 65536 and changes while training: SGD
        makes steps that are as much too long, clips and weight decay lose their meaning, and a step with infinite
        gradients, which the scaler would skip, destroys the weights.
        After `scaler.unscale_()` it is only the latter that is lost.
    Fix: call `scaler.step(optimizer)` and `scaler.update()`.
    Ignore: never.
    Thresholds: a run confirms it when the median step applied gradients more than `share` = 0.5 of the scale times as
        large as the true ones.
    Reported: https://github.com/IAHispano/Applio/pull/860, https://github.com/nerfstudio-project/nerfacc/issues/307
    """

    code, severity, certain, topic = "ML110", Severity.ERROR, True, "gradients"
    explains = ("update-too-large", "exploding-gradients", "loss-not-falling", "non-finite")
    remedy = "unscale"
    words = tuple((scaling, ".step(") for scaling in ("scale(", "scale_loss", "scaler", "Scaler"))
    share = 0.5
    bad = (
        """
        scaler = torch.cuda.amp.GradScaler()
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            optimizer.step()
            scaler.update()
        """,
        """
        from torch.amp import GradScaler

        def update(optimizer, output, scaler):
            scaled = scaler.scale(output)
            scaled.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        def train(model):
            sgd, scaler = torch.optim.SGD(model.parameters(), lr=0.1), GradScaler()
            for x, y in loader:
                sgd.zero_grad()
                update(sgd, loss(model(x), y), scaler)
        """,
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scaler.update()
        """,
    )
    good = (
        """
        from project.amp import ClippingScaler

        scaler = ClippingScaler(128) if half else None
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            if half:
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                scaler.step(optimizer)
                scaler.update()
            else:
                loss.backward()
                optimizer.step()
            optimizer.zero_grad()
        """,
        """
        scaler = torch.cuda.amp.GradScaler() if half else None
        for x, y in loader:

            def closure(scaler=None):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                if scaler is not None:
                    scaler.scale(loss).backward()
                else:
                    loss.backward()
                return loss

            if scaler is not None:
                closure(scaler)
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step(closure)
        """,
        """
        scaler = torch.cuda.amp.GradScaler()
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        """,
        """
        scaler = torch.cuda.amp.GradScaler()
        for x, y in loader:
            optimizer.zero_grad()
            output = loss(model(x), y)
            if args.amp:
                output = scaler.scale(output)
            output.backward()
            if args.amp:
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step()
        """,
        """
        from sklearn.preprocessing import StandardScaler
        scaler = StandardScaler()
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            optimizer.step()
        """,
        """
        scaler = torch.cuda.amp.GradScaler()
        for x, y in loader:  # checked by hand
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.unscale_(optimizer)
            if all(p.grad.isfinite().all() for p in model.parameters()):
                optimizer.step()
            scaler.update()
        """,
        """
        from apex import amp
        for x, y in loader:
            with amp.scale_loss(loss(model(x), y), optimizer) as scaled:
                scaled.backward()
            optimizer.step()
            optimizer.zero_grad()
        """,
        """
        class NoScaler:
            def scale(self, loss):
                return loss

            def step(self, optimizer):
                optimizer.step()

            def update(self):
                pass

        def train(model, optimizer, loader, half):
            scaler = torch.amp.GradScaler() if half else NoScaler()
            for x, y in loader:
                optimizer.zero_grad()
                scaler.scale(F.cross_entropy(model(x), y)).backward()
                scaler.step(optimizer)
                scaler.update()

        model = nn.Linear(8, 2)
        train(model, torch.optim.Adam(model.parameters()), loader, half)
        """,
    )
    confirmed_by = _run(131072.0)
    not_confirmed_by = _run(2.0)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not script.attributes & {"get_scale", "_scale", "inv_scale", "loss_scale"}:
            for loop in script.training_loops:
                for step in loop.steps:
                    if _in_a_scaler(script, step) or _is_given(step):
                        continue
                    if _bypasses(loop, step):
                        message = "steps with gradients of a scaled loss, past the scaler"
                        known = bool(step.subjects) and all(
                            map(MADE.search, step.subjects)
                        )  # else a class of a library may do it
                        here = lookup.share_function(script, step, *loop.of("backward"))
                        yield self.at(step, message, certain=known and here and _is_always_scaled(loop, step))
                    elif _unchecked(loop, step) and not script.attributes & CHECKS:
                        yield self.at(step, "steps past the scaler, which would skip gradients that are not finite")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        seen = [(s.gradient_norm_at_step, s.gradient_norm, s.loss_scale) for s in run.steps]
        scaled = [(applied / true, scale) for applied, true, scale in seen if applied and true and scale and scale > 1]
        if not scaled:
            return None
        ratio, bound = median(r for r, _ in scaled), self.share * median(scale for _, scale in scaled)
        return Evidence("gradient norm that a step applied / true gradient norm", ratio, bound, holds=ratio > bound)


def _in_a_scaler(script: Script, step: Act) -> bool:
    """Whether a class that scales losses too takes the step: the stand-in for a scaler where there is none."""
    around = lookup.function(script, step.location)
    scales = (f.owner for f in script.functions if f.name.endswith(".scale"))
    return around is not None and around.owner is not None and around.owner in scales


def _is_given(step: Act) -> bool:
    """Whether an object is given the optimizer to step it: a scaler, of whatever class."""
    return any(given.kind == "name" and sounds_like_optimizer(given.name) for given in step.call.arguments)


def _is_always_scaled(loop: TrainingLoop, step: Act) -> bool:
    """Whether a scaled backward() is made on each way to the step: another arm, or a closure, may do without a scaler."""
    own = {branch for branch in step.branches if "%" not in branch[0]}
    return not step.call.arguments and any(act.scaled and own.issubset(act.branches) for act in loop.of("backward"))


def _bypasses(loop: TrainingLoop, step: Act) -> bool:
    """Whether a backward() from a scaled loss is followed by the step, and nothing between them divides or steps."""
    before = [act for act in loop.before(step) if act.kind in ("backward", "unscale", "step", "unknown")]
    return not step.scaled and not step.owner and any(_reaches(before[:i], act) for i, act in enumerate(before))


def _unchecked(loop: TrainingLoop, step: Act) -> bool:
    """Whether gradients are unscaled, and each of them is stepped with, whatever it is."""
    before = [act for act in loop.before(step) if act.kind in ("backward", "unscale", "step", "unknown")]
    unscaled = before[:1] and before[0].kind == "unscale" and before[0].branches == step.branches
    return bool(unscaled) and not step.scaled and not step.owner


def _reaches(between: list[Act], act: Act) -> bool:
    return act.kind == "backward" and act.scaled and all(other.excludes(act) for other in between)
