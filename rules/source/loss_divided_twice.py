"""ML144."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import lookup, tensors
from modellint.source.branches import arms
from modellint.source.code import Function, Value
from modellint.source.facts import Act
from modellint.source.lightning import modules
from modellint.source.prepared import accumulated

LIGHTNING = "accumulate_grad_batches"


class LossDividedTwice(SourceRule):
    """The loss is divided by the number of accumulated batches, and the framework divides it once more.

    Why: `accelerator.backward` divides by the `gradient_accumulation_steps` of the Accelerator, Lightning what `training_step`
        returns by `accumulate_grad_batches`. After a division by hand the gradient is that of the mean by as much too small:
        clips no longer bind, SGD hardly moves.
    Fix: `accelerator.backward(loss)`, and divide what is logged only where it is logged.
    Ignore: never.
    Reported: https://github.com/huggingface/accelerate/issues/3533, https://github.com/huggingface/transformers/issues/26312
    """

    code, severity, certain, topic = "ML144", Severity.WARNING, True, "gradients"
    words = (("Accelerator(", "gradient_accumulation_steps", ".backward("), ("LightningModule", f".{LIGHTNING}"))
    bad = (
        """
        from accelerate import Accelerator

        accelerator = Accelerator(gradient_accumulation_steps=args.steps)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(x), y)
                loss = loss / args.steps
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        from accelerate import Accelerator

        def main(config):
            accelerator = Accelerator(gradient_accumulation_steps=4)
            model, optimizer, loader = accelerator.prepare(build(), make(), load())
            for i, (x, y) in enumerate(loader):
                accelerator.backward(F.cross_entropy(model(x), y) / config.accumulation_steps)
                if (i + 1) % config.accumulation_steps == 0:
                    optimizer.step()
                    optimizer.zero_grad()
        """,
        """
        import lightning as L

        class Classifier(L.LightningModule):
            def training_step(self, batch, index):
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                return loss / self.trainer.accumulate_grad_batches
        """,
    )
    good = (
        """
        from accelerate import Accelerator

        accelerator = Accelerator(gradient_accumulation_steps=args.steps)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(x), y, reduction="sum") / len(y)
                accelerator.backward(loss)
                total += loss.item() / args.steps
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator()
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for i, (x, y) in enumerate(loader):
            accelerator.backward(F.cross_entropy(model(x), y) / args.gradient_accumulation_steps)
            if (i + 1) % args.gradient_accumulation_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator(gradient_accumulation_steps=args.steps)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            if args.by_hand:
                loss = loss / args.steps
                loss.backward()
            else:
                accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        """,
        """
        import lightning as L

        class Gan(L.LightningModule):
            def __init__(self):
                super().__init__()
                self.automatic_optimization = False

            def training_step(self, batch, index):
                loss = self.loss(batch) / self.trainer.accumulate_grad_batches
                self.manual_backward(loss)
                return loss / self.trainer.accumulate_grad_batches
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        steps = accumulated(script)
        for loop in script.training_loops if steps is not None else ():
            for act in loop.of("backward"):
                first = next(iter(act.origins), None)
                twice = act.owner == "framework" and first is not None and _divides(first, steps)
                if first is not None and twice and _always(script, first, act):
                    yield self.at(first, f"divides the loss by `{first.arguments[1]}`, and so does `{act.call.name}`")
        for module in modules(script):
            step = module.methods.get("training_step")
            for value in _returned(step) if step is not None and module.manual is False else ():
                if value.name == "/" and str(value.arguments[1]).endswith(LIGHTNING):
                    yield self.at(value, f"divides the loss by `{value.arguments[1]}`, and so does Lightning")


def _divides(operation: Value, steps: Value | None) -> bool:
    """Whether it divides by the number that the accelerator is given, or by one that is called so."""
    if operation.name != "/" or len(operation.arguments) != 2:
        return False
    by = operation.arguments[1]
    return str(by) == str(steps) or "accum" in str(by).rpartition(".")[2].lower()


def _always(script: Script, division: Value, backward: Act) -> bool:
    """Whether the loss is divided wherever the accelerator is given it."""
    function, other = lookup.function(script, division.location), lookup.function(script, backward.location)
    if function is None or function is not other:
        return function is not None
    ways = [_arms(function, value) for value in (division, backward.call)]
    return ways[0] <= ways[1]


def _arms(function: Function, inner: Value) -> set[tuple[str, str]]:
    held = (e for e in function.events if e.value is not None and any(part is inner for part in e.value.within()))
    return set(arms(function, next((event.block for event in held), 0)))


def _returned(step: Function) -> Iterator[Value]:
    """The losses, as they were last computed."""
    for at, event in enumerate(step.events):
        if event.kind == "return" and event.value is not None:
            value = dict(event.value.keywords).get("loss", event.value) if event.value.kind == "dict" else event.value
            yield tensors.made(step, value, at)
