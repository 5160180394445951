"""ML165."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit

OWN = {"torch.nn.utils.clip_grad_norm_": "clip_grad_norm_", "torch.nn.utils.clip_grad_value_": "clip_grad_value_"}


class AccelerateClip(SourceRule):
    """The gradients that `accelerator.backward` makes are clipped past the accelerator, while they may be scaled.

    Why: in fp16 the accelerator scales the loss, so the gradients are many thousand times too long until it unscales them;
        torch's own function clips all of them away. Over sharded parameters it measures one shard. `accelerator.clip_grad_norm_`
        unscales first and measures the whole.
    Fix: `accelerator.clip_grad_norm_(model.parameters(), max_norm)` where `accelerator.sync_gradients`.
    Ignore: when neither fp16 nor sharding is ever used.
    Reported: https://github.com/huggingface/trl/pull/595
    """

    code, severity, topic = "ML165", Severity.WARNING, "gradients"
    calls = ("Accelerator",)
    words = (("Accelerator(", "clip_grad_"),)
    bad = (
        """
        from accelerate import Accelerator

        accelerator = Accelerator(mixed_precision="fp16")
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
    )
    fixed = (
        """
        from accelerate import Accelerator

        accelerator = Accelerator(mixed_precision="fp16")
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
    )
    good = (
        """
        from accelerate import Accelerator

        accelerator = Accelerator(mixed_precision="fp16")
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator()
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            accelerator.unscale_gradients()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if "unscale_gradients" in script.attributes:
            return
        for call in script.calls:
            given = call.argument(None, "mixed_precision") if call.method == "Accelerator" else None
            if call.method == "Accelerator":
                scaled = given is not None and given.constant == "fp16"
                for loop in script.training_loops:
                    owned = any(act.owner == "framework" for act in loop.of("backward"))
                    for clip in loop.clips if owned else ():
                        if clip.call.name in OWN:
                            yield self.at(
                                clip, "clips past the accelerator, which may have scaled the gradients", certain=scaled
                            )
                return

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Through the object that makes the gradients in the same loop."""
        for loop in script.training_loops:
            makers = [act.call.receiver for act in loop.of("backward") if act.owner == "framework"]
            for clip in loop.clips:
                if clip.location == finding.location and makers and makers[0] is not None and clip.call.name in OWN:
                    return Fix((edit.rename(clip, f"{makers[0]}.{OWN[clip.call.name]}"),), safe=False)
        return None
