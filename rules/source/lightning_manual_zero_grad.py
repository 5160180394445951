"""ML164."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value
from modellint.source.lightning import handed, modules, taken
from modellint.source.vocabulary import sounds_like_optimizer

CLEARS = pattern(r"\w*(zero|clear|reset)\w*", re.IGNORECASE)


class LightningManualZeroGrad(SourceRule):
    """In manual optimization nothing clears the gradients: each step applies those of all batches before it.

    Why: with `automatic_optimization = False` Lightning no longer calls `zero_grad()`; `manual_backward` adds to what is there.
    Fix: `optimizer.zero_grad()` before `self.manual_backward(loss)`.
    Ignore: when the gradients are accumulated on purpose and cleared in a callback.
    Reported: https://github.com/Lightning-AI/pytorch-lightning/issues/6282,
        https://github.com/Lightning-AI/pytorch-lightning/pull/6147
    """

    code, severity, certain, topic = "ML164", Severity.ERROR, True, "gradients"
    explains = ("stale-gradients",)
    words = (("LightningModule", "automatic_optimization", ".step("),)
    bad = (
        """
        import lightning as L

        class Classifier(L.LightningModule):
            def __init__(self, net):
                super().__init__()
                self.net = net
                self.automatic_optimization = False

            def training_step(self, batch, index):
                optimizer = self.optimizers()
                loss = F.cross_entropy(self.net(batch[0]), batch[1])
                self.manual_backward(loss)
                optimizer.step()
        """,
        """
        import lightning as L

        class Gan(L.LightningModule):
            def __init__(self, generator, critic):
                super().__init__()
                self.generator, self.critic = generator, critic
                self.automatic_optimization = False

            def training_step(self, batch, index):
                opt_g, opt_c = self.optimizers()
                noise = torch.zeros(len(batch), 16).normal_()
                self.manual_backward(self.loss_g(batch, noise))
                opt_g.step()
                opt_c.zero_grad()
                self.manual_backward(self.loss_c(batch))
                opt_c.step()
        """,
    )
    good = (
        """
        import lightning as L

        class Classifier(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                optimizer = self.optimizers()
                self.manual_backward(self.loss(batch))
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        """,
        """
        import lightning as L

        class Classifier(L.LightningModule):
            def __init__(self):
                super().__init__()
                self.automatic_optimization = False

            def training_step(self, batch, index):
                self.update(self.optimizers(), self.loss(batch))

            def update(self, optimizer, loss):
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
        """,
        """
        import lightning as L

        class Reinforce(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                optimizer = self.optimizers()
                optimizer.step(closure=lambda: self.closure(optimizer, batch))
        """,
        """
        import lightning as L

        class Gan(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                opt_g, opt_c = self.optimizers()
                for optimizer in (opt_g, opt_c):
                    optimizer.zero_grad()
                self.manual_backward(self.loss_g(batch))
                opt_g.step()
                opt_c.zero_grad()
                self.manual_backward(self.loss_c(batch))
                opt_c.step()
        """,
        """
        import lightning as L
        from .tools import begin

        class Gan(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                opt_g, opt_c = self.optimizers()
                begin(opt_g)
                self.manual_backward(self.loss_g(batch))
                opt_g.step()
                opt_c.zero_grad()
                self.manual_backward(self.loss_c(batch))
                opt_c.step()
        """,
        """
        import lightning as L

        class Slow(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                fast, slow = self.optimizers()
                fast.zero_grad()
                self.manual_backward(self.loss(batch))
                fast.step()
                if index % 4 == 3:
                    slow.step()
                    for p in self.body.parameters():
                        p.grad = None
        """,
        """
        import lightning as L

        class Gan(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                opt_g, opt_c = self.optimizers()
                self.generator.zero_grad()
                self.manual_backward(self.loss_g(batch))
                opt_g.step()
                opt_c.zero_grad()
                self.manual_backward(self.loss_c(batch))
                opt_c.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for module in modules(script):
            if module.manual and module.alone:
                calls = [call for method in module.methods.values() for call in method.calls]
                steps = [call for call in calls if _steps(call)]
                backward = any(call.name == "self.manual_backward" for call in calls)
                if steps and backward and not any(map(_clears, calls)):
                    yield self.at(
                        steps[0],
                        f"steps `{steps[0].receiver}`, whose gradients nothing in `{module.class_.name}` clears",
                    )
                step = module.methods.get("training_step")
                by_hand = any(e.name.endswith(".grad") for method in module.methods.values() for e in method.events)
                for one in _uncleared(step, calls) if step is not None and backward and not by_hand else ():
                    yield self.at(
                        one, f"steps `{one.receiver}`, and only the gradients of other optimizers are cleared"
                    )


def _steps(call: Value) -> bool:
    """A step without a closure."""
    named = call.receiver is not None and sounds_like_optimizer(str(call.receiver))
    return call.method == "step" and named and not call.arguments and not call.keywords


def _uncleared(step: Function, calls: Iterable[Value]) -> Iterator[Value]:
    """The steps of optimizers that nothing clears, where all that is cleared are others of `self.optimizers()`."""
    names = set(taken(step)) - handed(step)
    cleared = {str(call.receiver) for call in calls if _clears(call)}
    if cleared and cleared < names:
        yield from (call for call in step.calls if _steps(call) and str(call.receiver) in names - cleared)


def _clears(call: Value) -> bool:
    """Whether it may clear gradients; `torch.zeros` does not."""
    return CLEARS.fullmatch(call.method) is not None and not call.name.startswith("torch.")
