"""ML430."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.source.facts import Act, TrainingLoop


class UnscaledBackward(SourceRule):
    """The optimizer steps through a gradient scaler that has never scaled the loss.

    Why: `scaler.step()` divides the gradients by a scale that the loss was never multiplied by. A scaler that is at work and has
        scaled nothing at all raises at its first step, which may be far from here: on a GPU, with half precision asked for. One
        whose scale is there makes the gradients 65536 times too small.
    Fix: `scaler.scale(loss).backward()`.
    Ignore: never.
    Reported: https://github.com/Lightning-AI/pytorch-lightning/issues/4148,
        https://github.com/starrytong/SCNet/issues/7
    """

    code, severity, certain, topic = "ML430", Severity.ERROR, True, "gradients"
    explains = ("update-too-small", "loss-not-falling")
    words = (("GradScaler", ".backward()", ".step("),)
    bad = (
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.float16):
                loss = F.cross_entropy(model(x), y)
            loss.backward()
            scaler.step(optimizer)
            scaler.update()
        """,
        """
        from torch.cuda.amp import GradScaler

        class Trainer:
            def __init__(self, model, half):
                self.model, self.scaler = model, GradScaler(enabled=half)
                self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

            def step(self, x, y):
                loss = F.mse_loss(self.model(x), y)
                loss.backward()
                self.scaler.unscale_(self.optimizer)
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.optimizer.zero_grad()
        """,
    )
    fixed = (
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.float16):
                loss = F.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        """,
        None,
    )
    good = (
        """
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            loss = scaler.scale(F.cross_entropy(model(x), y))
            loss.backward()
            scaler.step(optimizer)
            scaler.update()
        """,
        """
        scaler = torch.amp.GradScaler("cuda", enabled=False)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            scaler.step(optimizer)
            scaler.update()
        """,
        """
        scaler = torch.amp.GradScaler("cuda") if half else None
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            if half:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                loss.backward()
                optimizer.step()
        """,
        """
        from project import GradScaler

        scaler = GradScaler()  # another one
        for x, y in loader:
            optimizer.zero_grad()
            scaler.of(F.cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if _makes_scaler(script) and "scale" not in script.called and not script.attributes & {"get_scale", "_scale"}:
            for loop in script.training_loops:
                for backward in _past(loop):
                    if backward.location.path == script.path:
                        yield self.at(
                            backward, "starts from a loss that the scaler, through which it steps, never scales"
                        )

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Where the loss and the scaler have names."""
        for loop in script.training_loops:
            for backward in (act for act in _past(loop) if act.location == finding.location):
                step = next(act for act in loop.after(backward) if act.kind == "step")
                loss, scaler = backward.call.receiver, step.call.receiver
                bare = loss is not None and loss.kind == "name" and not backward.call.arguments
                if bare and scaler is not None and scaler.name.isidentifier():
                    return Fix((edit.replace(backward.call, f"{scaler.name}.scale({{receiver}}).backward()"),))
        return None


def _makes_scaler(script: Script) -> bool:
    """Whether a scaler of PyTorch's is made here, and each may be at work."""
    made = [call for call in script.calls if call.method == "GradScaler"]
    known = all(call.name.startswith("torch.") for call in made)
    off = (call.argument(None, "enabled") for call in made)
    return bool(made) and known and not any(enabled is not None and enabled.constant is False for enabled in off)


def _past(loop: TrainingLoop) -> Iterator[Act]:
    """The backward()s after which nothing but a scaler steps."""
    if loop.steps and all(step.scaled and not step.owner for step in loop.steps):
        yield from (
            act
            for act in loop.of("backward")
            if not act.scaled and not act.owner and any(after.kind == "step" for after in loop.after(act))
        )
