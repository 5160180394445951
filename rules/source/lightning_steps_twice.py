"""ML163."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Value
from modellint.source.lightning import modules
from modellint.source.vocabulary import sounds_like_optimizer


class LightningStepsTwice(SourceRule):
    """A `training_step` steps the optimizer itself, and Lightning does it again.

    Why: unless `automatic_optimization` is False, Lightning clears the gradients, calls `backward()` on the returned loss and
        steps. What `training_step` does besides is done twice: `backward()` fails on the freed graph, or the gradients add up
        and the weights move twice.
    Fix: return the loss and leave the rest to Lightning, or set `self.automatic_optimization = False` and call
        `self.manual_backward`.
    Ignore: never.
    Reported: https://github.com/CompVis/latent-diffusion/issues/332 (asks where the steps are),
        https://github.com/Lightning-AI/pytorch-lightning/issues/5544
    """

    code, severity, certain, topic = "ML163", Severity.ERROR, True, "gradients"
    words = (("LightningModule", "def training_step", ".step()"), ("LightningModule", "def training_step", "backward("))
    bad = (
        """
        import lightning as L

        class Classifier(L.LightningModule):
            def training_step(self, batch, index):
                optimizer = self.optimizers()
                optimizer.zero_grad()
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                loss.backward()
                optimizer.step()
                return loss
        """,
        """
        import pytorch_lightning as pl

        class Classifier(pl.LightningModule):
            def training_step(self, batch, index):
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                self.manual_backward(loss)
                return loss
        """,
    )
    good = (
        """
        import lightning as L

        class Classifier(L.LightningModule):
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

        class Classifier(L.LightningModule):
            def training_step(self, batch, index):
                scheduler = self.lr_schedulers()
                scheduler.step()
                self.env.step()
                return self.loss(batch)
        """,
        """
        import lightning as L

        class Adversary(L.LightningModule):
            def training_step(self, batch, index):
                delta = torch.zeros_like(batch[0], requires_grad=True)
                gradient, = torch.autograd.grad(self.loss(batch[0] + delta), delta)
                return self.loss(batch[0] + gradient.sign())
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if "automatic_optimization" in script.attributes:
            return
        for module in modules(script):
            step = module.methods.get("training_step")
            if step is not None and module.manual is False and module.alone:
                done = [call for call in step.calls if _steps(call)] or [
                    c for c in step.calls if c.name == "self.manual_backward"
                ]
                if done:
                    yield self.at(
                        done[0],
                        f"calls `{done[0].method}()` itself, and Lightning trains with the returned loss besides",
                    )


def _steps(call: Value) -> bool:
    return call.method == "step" and call.receiver is not None and sounds_like_optimizer(str(call.receiver))
