"""ML433."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import tensors
from modellint.source.code import Function, Value
from modellint.source.lightning import modules

BATCHES = frozenset({"estimated_stepping_batches", "steps_per_epoch"})


class LightningScheduleInterval(SourceRule):
    """A schedule that is as long as all batches is given to Lightning, which steps it once an epoch.

    Why: a scheduler that `configure_optimizers` returns is stepped after each epoch, unless its `interval` is "step". One made for
        `estimated_stepping_batches` or with `steps_per_epoch` then never gets beyond the first few of its many thousand steps:
        `OneCycleLR` stays at a 25th of its rate, a warm-up near zero.
    Fix: return `{"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}`.
    Ignore: never.
    Reported: https://github.com/Lightning-AI/pytorch-lightning/pull/19774, https://github.com/pytorch/pytorch/issues/65417,
        https://github.com/Lightning-AI/pytorch-lightning/issues/3869
    """

    code, severity, certain, topic = "ML433", Severity.ERROR, True, "schedule"
    explains = ("loss-not-falling", "learning-rate-trajectory", "update-too-small")
    words = (("LightningModule", "configure_optimizers"),)
    bad = (
        """
        import lightning as L

        class Net(L.LightningModule):
            def training_step(self, batch, batch_idx):
                return F.cross_entropy(self.net(batch[0]), batch[1])

            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
                total = self.trainer.estimated_stepping_batches
                scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=total)
                return [optimizer], [scheduler]
        """,
        """
        import pytorch_lightning as pl

        class Net(pl.LightningModule):
            def configure_optimizers(self):
                optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
                scheduler = torch.optim.lr_scheduler.OneCycleLR(
                    optimizer, 0.1, epochs=self.epochs, steps_per_epoch=len(self.train_dataloader())
                )
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}
        """,
        """
        import pytorch_lightning as pl

        class Net(pl.LightningModule):
            def configure_optimizers(self):
                optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
                steps = self.trainer.estimated_stepping_batches
                config = {"scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps), "name": "rate"}
                return [optimizer], [config]
        """,
    )
    good = (
        """
        import lightning as L

        class Net(L.LightningModule):
            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
                total = self.trainer.estimated_stepping_batches
                scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=total)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
        """,
        """
        import lightning as L

        class Net(L.LightningModule):
            def training_step(self, batch, batch_idx):
                self.lr_schedulers().step()

            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
                total = self.trainer.estimated_stepping_batches
                return [optimizer], [torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=total)]
        """,
        """
        import lightning as L

        class Net(L.LightningModule):
            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
                total = self.trainer.estimated_stepping_batches
                config = schedule_config(torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=total))
                return [optimizer], [config]
        """,
        """
        import lightning as L

        class Net(L.LightningModule):
            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
                epochs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, epochs=9, steps_per_epoch=1)
                return [optimizer], [epochs]
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for module in modules(script) if "lr_schedulers" not in script.called else ():
            method = module.methods.get("configure_optimizers")
            automatic = module.manual is False and "lr_scheduler_step" not in module.methods
            for schedule in _counted(method) if method is not None and automatic and not _says_step(method) else ():
                yield self.at(schedule, "counts batches, and Lightning steps it once an epoch")


def _counted(method: Function) -> Iterator[Value]:
    """The schedulers of PyTorch's that count all batches and are handed on as they are, or in a dict."""
    named = tensors.named(method)
    lengths = {name for name, value in named.items() if _counts(value)}
    for event in method.events:
        for part in event.value.within() if event.kind == "return" and event.value is not None else ():
            given = named.get(part.name, part) if part.kind == "name" else part
            parts = [value for _, value in given.keywords] if given.kind == "dict" else [given]
            for made in (named.get(value.name, value) for value in parts):
                if made.kind == "call" and ".lr_scheduler." in made.name and _long(made, lengths):
                    yield made


def _long(call: Value, lengths: set[str]) -> bool:
    per_epoch = call.argument(None, "steps_per_epoch")
    if per_epoch is not None:
        return per_epoch.constant is None
    given = (*call.arguments, *(value for _, value in call.keywords))
    return any(_counts(value) or value.name in lengths for value in given)


def _counts(value: Value) -> bool:
    return value.kind in ("name", "attribute", "call", "operation") and any(
        part.method in BATCHES for part in value.within()
    )


def _says_step(method: Function) -> bool:
    """Whether an interval is written that is not an epoch, or cannot be read."""
    for event in method.events:
        for part in event.value.within() if event.value is not None else ():
            if any(name == "interval" and value.constant != "epoch" for name, value in part.keywords):
                return True
        if event.kind == "assign" and "interval" in event.name:
            return True
    return False
