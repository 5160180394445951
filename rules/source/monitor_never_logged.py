"""ML147."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Value

CALLBACKS = {"EarlyStopping": 0, "ModelCheckpoint": None}  # with the place of the metric's name
ENDINGS = ("_step", "_epoch")  # of what is logged both ways
ALWAYS = frozenset({"epoch", "step"})


class MonitorNeverLogged(SourceRule):
    """A metric is watched that no LightningModule logs by that name.

    Why: `EarlyStopping` and a scheduler that monitors fail with an error after the first validation, `ModelCheckpoint` when it
        wants to save; some releases only warn, and neither stop early nor keep the best weights.
    Fix: give the name that `self.log` is given.
    Ignore: when a callback from elsewhere logs the metric.
    Reported: https://github.com/graviraja/MLOps-Basics/issues/21, https://github.com/amanteur/SCNet-PyTorch/issues/2
    """

    code, severity, certain, topic = "ML147", Severity.ERROR, True, "evaluation"
    words = (
        ("EarlyStopping(", "lightning"), ("ModelCheckpoint(", "lightning"), ("def configure_optimizers", "monitor"),
    )  # fmt: skip
    bad = (
        """
        import lightning as L
        from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

        class Net(L.LightningModule):
            def training_step(self, batch, index):
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                self.log("train_loss", loss)
                return loss

            def validation_step(self, batch, index):
                self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

        trainer = L.Trainer(callbacks=[EarlyStopping(monitor="valid_loss"), ModelCheckpoint(monitor="val_loss")])
        """,
        """
        import pytorch_lightning as pl

        class Net(pl.LightningModule):
            def validation_step(self, batch, index):
                self.log_dict({"val/loss": self.loss(batch), "val/acc": self.accuracy(batch)}, prog_bar=True)

            def configure_optimizers(self):
                optimizer = torch.optim.Adam(self.parameters())
                scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}
        """,
    )
    good = (
        """
        import lightning as L
        from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

        class Net(L.LightningModule):
            def training_step(self, batch, index):
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                self.log("train_loss", loss, on_step=True, on_epoch=True)
                return loss

            def validation_step(self, batch, index, loader=0):
                self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

        watching = [ModelCheckpoint(monitor="val_loss/dataloader_idx_0"), EarlyStopping("train_loss_epoch")]
        trainer = L.Trainer(callbacks=watching)
        """,
        """
        import lightning as L
        from lightning.pytorch.callbacks import EarlyStopping

        class Net(L.LightningModule):
            def shared(self, batch, stage):
                loss = self.loss(batch)
                self.log(f"{stage}_loss", loss)
                return loss

            def training_step(self, batch, index):
                return self.shared(batch, "train")

            def validation_step(self, batch, index):
                self.log("val_acc", self.accuracy(batch))
                self.shared(batch, "val")

        trainer = L.Trainer(callbacks=[EarlyStopping(monitor="val_loss")])
        """,
        """
        import lightning as L
        from stopping import EarlyStopping  # our own, which is given the values

        class Net(L.LightningModule):
            def validation_step(self, batch, index):
                self.log("val_loss", self.loss(batch))

        stop = EarlyStopping(monitor="error")
        """,
        """
        import lightning as L
        from lightning.pytorch.callbacks import EarlyStopping
        from elsewhere import Base

        class Net(Base):
            def training_step(self, batch, index):
                loss = self.loss(batch)
                self.log("train_loss", loss)
                return loss

        trainer = L.Trainer(callbacks=[EarlyStopping(monitor="val_loss")])
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        logged = script.logged
        for place, name in _watched(script) if logged is not None else ():
            if logged is not None and not any(map(logged.__contains__, _origins(name))) and name not in ALWAYS:
                yield self.at(place, f"watches `{name}`, and what is logged is {', '.join(sorted(logged)[:6])}")


def _watched(script: Script) -> Iterator[tuple[Value, str]]:
    for function in script.functions:
        for call in function.calls:
            if call.method in CALLBACKS and "lightning" in call.name:
                yield from _named(call.argument(CALLBACKS[call.method], "monitor"))
        for event in function.events if function.name.endswith("configure_optimizers") else ():
            for part in event.value.within() if event.kind == "return" and event.value is not None else ():
                yield from _named(dict(part.keywords).get("monitor") if part.kind == "dict" else None)


def _named(given: Value | None) -> Iterator[tuple[Value, str]]:
    if given is not None and isinstance(given.constant, str):
        yield given, given.constant


def _origins(name: str) -> Iterator[str]:
    """The names that `self.log` may have been given for it."""
    plain = name.partition("/dataloader_idx_")[0]
    yield plain
    yield from (plain.removesuffix(ending) for ending in ENDINGS)
