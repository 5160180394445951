"""ML162."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Function, Value
from modellint.source.lightning import modules

CUTS = frozenset({"item", "detach", "tolist", "numpy"})


class LightningTrainingStep(SourceRule):
    """A `training_step` gives Lightning no loss that it can train with.

    Why: in automatic optimization Lightning calls `backward()` on what `training_step` returns. Of nothing it skips the step
        with a warning; a detached loss has no gradients. The logs look as always, the weights stay.
    Fix: `return loss`, with its graph; log the number beside it.
    Ignore: in a class whose subclass returns the loss.
    Reported: https://github.com/graviraja/MLOps-Basics/issues/14
    """

    code, severity, certain, topic = "ML162", Severity.ERROR, True, "gradients"
    explains = ("frozen-weights",)
    words = (("LightningModule", "def training_step"),)
    bad = (
        """
        import lightning as L

        class Byol(L.LightningModule):
            def training_step(self, images, index):
                loss = self.learner(images)
        """,
        """
        import lightning as L

        class Classifier(L.LightningModule):
            def training_step(self, batch, index):
                x, y = batch
                loss = F.cross_entropy(self.net(x), y)
                self.log("train_loss", loss)
        """,
        """
        import pytorch_lightning as pl

        class Classifier(pl.LightningModule):
            def training_step(self, batch, index):
                x, y = batch
                loss = F.cross_entropy(self.net(x), y)
                return {"loss": loss.detach(), "n": len(x)}
        """,
        """
        import lightning as L

        class Classifier(L.LightningModule):
            def shared_step(self, batch, stage):
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                self.log(f"{stage}_loss", loss)
                return loss

            def training_step(self, batch, index):
                self.shared_step(batch, "train")
        """,
        """
        import lightning as L

        class Classifier(L.LightningModule):
            def shared_step(self, batch, stage):
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                self.log(f"{stage}_loss", loss)
                return loss.item()

            def training_step(self, batch, index):
                loss = self.shared_step(batch, "train")
                return loss
        """,
    )
    good = (
        """
        import lightning as L

        class Classifier(L.LightningModule):
            def training_step(self, batch, index):
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                self.log("train_loss", loss.item())
                return loss
        """,
        """
        import lightning as L

        class Gan(L.LightningModule):
            def __init__(self):
                super().__init__()
                self.automatic_optimization = False

            def training_step(self, batch, index):
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(self.loss(batch))
                optimizer.step()
        """,
        """
        import lightning as L

        class Base(L.LightningModule):
            def training_step(self, batch, index):
                raise NotImplementedError

        class Skips(L.LightningModule):
            def training_step(self, batch, index):
                if batch is None:
                    return None
                return {"loss": self.loss(batch)}
        """,
        """
        import lightning as L

        class Classifier(L.LightningModule):
            def measure(self, batch):
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                return loss.item() if self.quiet else loss

            def training_step(self, batch, index):
                return self.measure(batch)
        """,
        """
        import lightning as L

        class Idle(L.LightningModule):
            def remember(self, batch):
                self.bank.append(self.net(batch[0]))

            def training_step(self, batch, index):
                self.remember(batch)  # the weights are not trained at all
        """,
        """
        import lightning as L

        class Memory(L.LightningModule):
            def configure_optimizers(self):
                return []

            def remember(self, batch):
                self.bank.append(F.normalize(self.body(batch), dim=1).cpu())
                return len(self.bank)

            def training_step(self, batch, index):
                self.log("remembered", float(self.remember(batch)))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for module in modules(script):
            step = module.methods.get("training_step")
            if step is not None and module.manual is False and not _is_idle(module.methods):
                yield from self._judge(step, module.methods if module.alone else {})

    def _judge(self, step: Function, own: Mapping[str, Function]) -> Iterator[Diagnostic]:
        given = _given(step)
        open_ = any(e.kind == "leave" and e.name == "raise" for e in step.events)
        helpers = (helper for call in step.calls if (helper := _helper(call, own)) is not None)
        if (
            not given
            and not open_
            and (_computes(step) or any(_computes(helper) and _given(helper) for helper in helpers))
        ):
            yield self.at(step, "returns no loss: Lightning skips every step")
        for value in given:
            loss = dict(value.keywords).get("loss") if value.kind == "dict" else value
            if loss is not None and (_cut(loss) or _is_cut_by_helper(loss, step, own)):
                yield self.at(loss, "returns a loss without its graph: nothing is trained")


def _is_idle(methods: Mapping[str, Function]) -> bool:
    """Whether the module says that it has no optimizer: its training only collects something."""
    makes = methods.get("configure_optimizers")
    empty = makes is not None and all(v.kind in ("list", "tuple") and not v.arguments for v in _given(makes))
    return makes is not None and empty and not any(e.kind == "leave" for e in makes.events)


def _given(function: Function) -> list[Value]:
    """What it returns, but for None."""
    returned = [e.value for e in function.events if e.kind in ("return", "yield") and e.value is not None]
    return [value for value in returned if value.kind != "constant" or value.constant is not None]


def _computes(function: Function) -> bool:
    """Whether a function computes a loss."""
    named = any(e.kind == "assign" and "loss" in e.name.lower() for e in function.events)
    return named or any(
        call.method in ("log", "log_dict")
        or "loss" in call.method.lower()
        or call.name.startswith("torch.nn.functional.")
        for call in function.calls
    )


def _helper(call: Value, own: Mapping[str, Function]) -> Function | None:
    return own.get(call.method) if call.name == f"self.{call.method}" else None


def _is_cut_by_helper(loss: Value, step: Function, own: Mapping[str, Function]) -> bool:
    """Whether a method of the module gives it, and never with its graph."""
    bound = [e.value for e in step.events if e.kind in ("assign", "augment") and e.name == loss.name]
    made = bound[0] if loss.kind == "name" and len(bound) == 1 else loss
    helper = _helper(made, own) if made is not None and made.kind == "call" else None
    given = _given(helper) if helper is not None else []
    return bool(given) and all(map(_cut, given))


def _cut(value: Value) -> bool:
    return value.kind == "call" and value.method in CUTS and value.receiver is not None and not value.arguments
