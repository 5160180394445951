"""ML149."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value

MODELS = pattern(r"(\w+_)?(model|net|network|classifier|encoder)")
EVALUATES = pattern(r"(?i).*(eval|valid|test|inference).*")
OFF = frozenset({"no_grad", "inference_mode", "set_grad_enabled"})
TRAINS = frozenset({"backward", "step", "grad", "requires_grad_", "autograd"})


class IgniteEvaluator(SourceRule):
    """An engine of ignite evaluates the model as if it trained: in training mode, or with a graph of every batch.

    Why: an `Engine` only calls its function. In training mode dropout and the statistics of the batch make the metrics worse
        than the model, and batch norm learns from the validation data; with gradients every batch costs their memory.
    Fix: `model.eval()` and `with torch.no_grad():` in the function, or `create_supervised_evaluator`.
    Ignore: when a handler elsewhere sets the mode.
    Reported: https://github.com/snap-stanford/GraphGym/pull/11, https://github.com/ugent-korea/pytorch-unet-segmentation/issues/18
    """

    code, severity, certain, topic = "ML149", Severity.WARNING, True, "evaluation"
    calls = ("Engine",)
    words = (("ignite", "Engine("),)
    bad = (
        """
        from ignite.engine import Engine

        def train_step(engine, batch):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch[0]), batch[1])
            loss.backward()
            optimizer.step()
            return loss.item()

        def validation_step(engine, batch):
            return model(batch[0]), batch[1]

        trainer, evaluator = Engine(train_step), Engine(validation_step)
        evaluator.run(val_loader)
        """,
        """
        from ignite.engine import Engine

        def step(engine, batch):
            with torch.no_grad():
                return net(batch[0]), batch[1]

        validator = Engine(step)
        validator.run(val_loader)
        """,
    )
    good = (
        """
        from ignite.engine import Engine

        @torch.no_grad()
        def validation_step(engine, batch):
            model.eval()
            return model(batch[0]), batch[1]

        evaluator = Engine(validation_step)
        """,
        """
        from ignite.engine import Engine, Events

        def validation_step(engine, batch):
            with torch.no_grad():
                return model(batch[0]), batch[1]

        evaluator = Engine(validation_step)

        @evaluator.on(Events.EPOCH_STARTED)
        def set_mode(engine):
            model.eval()
        """,
        """
        from ignite.engine import Engine

        def attack_step(engine, batch):
            x = batch[0].requires_grad_()
            gradient, = torch.autograd.grad(model(x).sum(), x)
            return gradient

        test_engine = Engine(attack_step)
        """,
        """
        from engines import Engine

        def validation_step(engine, batch):
            return model(batch[0]), batch[1]

        evaluator = Engine(validation_step)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for event in function.events:
                given = _step(event.value) if event.kind == "assign" and EVALUATES.fullmatch(event.name) else None
                step = next((f for f in script.functions if f.name == given), None)
                called = _model(step) if step is not None else None
                missing = _missing(script) if called is not None else []
                if called is not None and missing:
                    yield self.at(called, f"evaluates `{called.name}` without {' and '.join(missing)}")


def _step(value: Value | None) -> str | None:
    """The function that an engine is made of."""
    if value is None or value.kind != "call" or not value.name.startswith("ignite.") or value.method != "Engine":
        return None
    given = value.argument(0, "process_function")
    return given.name if given is not None and given.kind == "name" else None


def _model(step: Function) -> Value | None:
    """The model that is called, in a function that trains nothing."""
    calls = list(step.calls)
    trains = any(call.method in TRAINS for call in calls)
    return (
        next((call for call in calls if call.base is None and MODELS.fullmatch(call.method)), None)
        if not trains
        else None
    )


def _missing(script: Script) -> list[str]:
    """What no place of the file does, in the function itself or around its engine."""
    set_ = any(
        c.method == "eval" or (c.method == "train" and c.arguments) for c in script.calls if c.receiver is not None
    )
    contexts = (b.value for f in script.functions for b in f.blocks if b.kind == "with" and b.value is not None)
    decorators = (d for f in script.functions for d in f.decorators)
    off = any(value.method in OFF for value in (*contexts, *decorators, *script.calls))
    return [text for text, there in (("`eval()`", set_), ("`no_grad()`", off)) if not there]
