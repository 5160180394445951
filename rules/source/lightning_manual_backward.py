"""ML175."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.source.code import Value
from modellint.source.lightning import modules


class LightningManualBackward(SourceRule):
    """In manual optimization `backward()` is called past Lightning, which neither scales nor spreads the gradients then.

    Why: `self.manual_backward(loss)` scales the loss for 16-bit precision, and hands it to the strategy. After `loss.backward()`
        the optimizer that Lightning steps divides by a scale that the gradients never had, and DeepSpeed never sees them.
    Fix: `self.manual_backward(loss)`.
    Ignore: when the model only ever trains in full precision on one device.
    Reported: https://github.com/Lightning-AI/pytorch-lightning/issues/18740,
        https://github.com/Lightning-AI/pytorch-lightning/issues/4148
    """

    code, severity, certain, topic = "ML175", Severity.WARNING, True, "gradients"
    words = (("LightningModule", "automatic_optimization", ".backward("),)
    bad = (
        """
        import lightning as L

        class Gan(L.LightningModule):
            def __init__(self, net):
                super().__init__()
                self.net = net
                self.automatic_optimization = False

            def training_step(self, batch, index):
                optimizer = self.optimizers()
                optimizer.zero_grad()
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                loss.backward()
                optimizer.step()
        """,
    )
    fixed = (
        """
        import lightning as L

        class Gan(L.LightningModule):
            def __init__(self, net):
                super().__init__()
                self.net = net
                self.automatic_optimization = False

            def training_step(self, batch, index):
                optimizer = self.optimizers()
                optimizer.zero_grad()
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                self.manual_backward(loss)
                optimizer.step()
        """,
    )
    good = (
        """
        import lightning as L

        class Gan(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(self.loss(batch))
                optimizer.step()

            def saliency(self, batch):
                self.net(batch).max().backward()
        """,
        """
        import lightning as L

        class Attacked(L.LightningModule):
            def training_step(self, batch, index):
                self.loss(batch).backward()
                return self.loss(batch + 0.1 * batch.grad.sign())
        """,
        """
        import lightning as L

        class Own(L.LightningModule):
            def __init__(self, net):
                super().__init__()
                self.automatic_optimization = False
                self.optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

            def training_step(self, batch, index):
                self.optimizer.zero_grad()
                self.loss(batch).backward()
                self.optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for call in _past(script):
            yield self.at(call, "makes the gradients past Lightning: `self.manual_backward()` scales and spreads them")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """A backward() of a named loss, without arguments."""
        for call in _past(script):
            if call.location == finding.location and call.base is None and not call.arguments and not call.keywords:
                return Fix((edit.replace(call, "self.manual_backward({receiver})"),))
        return None


def _past(script: Script) -> Iterator[Value]:
    """The backward() calls of training steps that step Lightning's own optimizers."""
    for module in modules(script):
        step = module.methods.get("training_step")
        if module.manual and step is not None:
            calls = list(step.calls)
            stepped = any(call.name == "self.optimizers" for call in calls) and any(
                call.method == "step" for call in calls
            )
            yield from (
                c for c in calls if stepped and c.method == "backward" and not c.name.startswith(("self.", "torch."))
            )
