"""ML145."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.facts import TrainingLoop
from modellint.source.prepared import accumulated

# Words of those who tell the accelerator by other means, or add up by hand.
OTHERWISE = frozenset({"accumulate", "no_sync", "_set_sync_gradients", "_do_sync", "gradient_state"})


class AccumulationNotEntered(SourceRule):
    """The accelerator is told to add up several batches, and the loop never tells it where one begins.

    Why: `gradient_accumulation_steps` only counts inside of `with accelerator.accumulate(model)`. Without it the optimizer steps
        with every batch, and `accelerator.backward` still divides the loss: many small steps of a batch that is not larger.
    Fix: put the body of the loop into `with accelerator.accumulate(model):`.
    Ignore: never.
    Reported: https://github.com/tianweiy/DMD2/issues/23
    """

    code, severity, certain, topic = "ML145", Severity.WARNING, True, "gradients"
    calls = ("Accelerator",)
    words = (("Accelerator(", "gradient_accumulation_steps", ".backward("),)
    bad = (
        """
        from accelerate import Accelerator

        def main(args):
            accelerator = Accelerator(gradient_accumulation_steps=args.gradient_accumulation_steps)
            model, optimizer, loader = accelerator.prepare(build(), make(), load())
            for epoch in range(3):
                for x, y in loader:
                    loss = F.cross_entropy(model(x), y)
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator(gradient_accumulation_steps=2)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            accelerator.backward(F.cross_entropy(model(x), y))
            if accelerator.sync_gradients:  # always
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        """,
    )
    good = (
        """
        from accelerate import Accelerator

        accelerator = Accelerator(gradient_accumulation_steps=2)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for i, (x, y) in enumerate(loader):
            accelerator.gradient_state.sync_gradients = i % 2 == 1
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
            optimizer.zero_grad()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator(gradient_accumulation_steps=8)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            with accelerator.accumulate(model):
                accelerator.backward(F.cross_entropy(model(x), y))
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator(gradient_accumulation_steps=args.every)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for i, (x, y) in enumerate(loader):  # by hand
            accelerator.backward(F.cross_entropy(model(x), y))
            if (i + 1) % args.every == 0:
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator(gradient_accumulation_steps=args.every)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for batch in loader:
            for x, y in batch.chunk(args.every):
                accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
            optimizer.zero_grad()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator(gradient_accumulation_steps=1)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
            optimizer.zero_grad()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        steps = accumulated(script) if script.attributes.isdisjoint(OTHERWISE) else None
        if steps is not None and not _is_set(script) and any(map(_steps_with_each, script.training_loops)):
            yield self.at(steps, f"asks for {steps} batches a step, and no loop enters `accelerator.accumulate(model)`")


def _is_set(script: Script) -> bool:
    """Whether the script says by itself when the gradients are complete; that it asks changes nothing."""
    return any(e.kind == "assign" and e.name.endswith(".sync_gradients") for f in script.functions for e in f.events)


def _steps_with_each(loop: TrainingLoop) -> bool:
    """Whether the accelerator makes the gradients of each batch, and the optimizer steps with them."""
    backwards = [act for act in loop.of("backward") if act.owner == "framework"]
    steps = [act for act in loop.steps if not any("%" in branch for branch, _ in act.branches)]
    return any(not b.loops and not s.loops and not b.excludes(s) for b in backwards for s in steps)
