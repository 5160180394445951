from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule


class ClipAfterStep(SourceRule):
    """Gradients are clipped after the optimizer has used them.

    Why: `step()` applies the raw gradients; the clip then shortens gradients that nobody reads, so nothing bounds the update.
    Fix: move the call between `backward()` and `step()`.
    Ignore: never.
    Reported: https://discuss.pytorch.org/t/proper-way-to-do-gradient-clipping/191
    """

    code, severity, certain = "ML104", Severity.ERROR, True
    explains = ("exploding-gradients",)
    remedy = "clip"
    words = ("clip",)
    bad = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        """,
    )
    good = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for clip in loop.clips:
                before = next((act for act in loop.before(clip) if act.kind in ("backward", "step")), None)
                after = next((act for act in loop.after(clip) if act.kind in ("backward", "step")), None)
                if before is not None and before.kind == "step" and (after is None or after.kind == "backward"):
                    yield self.at(clip, "clips the gradients after `step()` has used them")
