"""ML103."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePath

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.pattern import pattern
from modellint.measure import stepping
from modellint.source import lightning, lookup
from modellint.source.code import Function, Value
from modellint.source.facts import Optimizer

# What is looked at where nothing is to be trained.
MEASURES = pattern(
    r"bench|profil|speed|throughput|latency|timing|fisher|importance|salien|influence|gradient|hessian|attribut", re.I
)


class MissingOptimizerStep(SourceRule):
    """Gradients are made and cleared for an optimizer that never steps.

    Why: `backward()` only computes gradients; without `step()` no weight changes, and what looks like training is an
        evaluation that costs three times as much.
    Fix: call `optimizer.step()` after `backward()`.
    Ignore: when the gradients themselves are what is wanted; then no optimizer is needed.
    Reported: https://github.com/zhaoyuzhi/deepfillv2/issues/6, https://github.com/tedlasai/learn2refocus/issues/5
    """

    code, severity, certain, topic = "ML103", Severity.ERROR, True, "gradients"
    explains = ("loss-not-falling",)
    twins = ("step-skipped",)
    words = (("zero_grad(", "ptim"),)
    bad = (
        """
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        for epoch in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
            scheduler.step()
        """,
        """
        class Gan:
            def __init__(self):
                self.optimizer_g = torch.optim.Adam(self.generator.parameters())
                self.optimizer_d = torch.optim.Adam(self.discriminator.parameters())

            def train_discriminator(self, real):
                self.optimizer_d.zero_grad()
                self.d_loss(real).backward()

            def train_generator(self):
                self.optimizer_g.zero_grad()
                self.g_loss().backward()
                self.optimizer_g.step()

            def fit(self, batches):
                for real in batches:
                    self.train_discriminator(real)
                    self.train_generator()
        """,
        """
        def train_batch(net, criterion, optimizer):
            x, y = next(batches)
            loss = criterion(net(x), y)
            net.zero_grad()
            loss.backward()
            return loss

        if args.adam:
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        else:
            optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
        for step in range(1000):
            train_batch(net, criterion, optimizer)
        """,
        """
        def train(loader, net, criterion, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                criterion(net(x), y).backward()
            print(optimizer.param_groups[0]["lr"])

        def main():
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
            for epoch in range(10):
                train(loader, net, criterion, optimizer)
        """,
        """
        import lightning as L

        class Gan(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                optimizer_g, optimizer_d = self.optimizers()
                optimizer_g.zero_grad()
                self.manual_backward(self.loss_g(batch))
                optimizer_g.step()
                optimizer_d.zero_grad()
                self.manual_backward(self.loss_d(batch))
                optimizer_g.step()
        """,
    )
    suspected = (
        """
        class Trainer:
            def __init__(self, net):
                self.net = net
                self.optimizer = torch.optim.Adam(net.parameters())

            def backward(self, x, y):
                self.optimizer.zero_grad()
                F.mse_loss(self.net(x), y).backward()

            def update(self):
                nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
                self.optimizer.step()

            def fit(self, loader):
                for x, y in loader:
                    self.backward(x, y)

        Trainer(net).fit(loader)
        """,
        """
        generator, critic = nn.Linear(8, 8), nn.Linear(8, 1)
        optimizer_g = torch.optim.Adam(generator.parameters())
        optimizer_c = torch.optim.Adam(critic.parameters())
        for real in loader:
            fake = generator(noise())
            critic.zero_grad()
            (critic(fake.detach()).mean() - critic(real).mean()).backward()
            optimizer_c.step()
            generator.zero_grad()
            (-critic(fake).mean()).backward()
            optimizer_c.step()
        """,
    )
    good = (
        """
        def backward(loss, optimizer):
            optimizer.zero_grad()
            loss.backward()

        def advance(scaler, optimizer):
            scaler.step(optimizer)

        def train(loader, net, optimizers, scaler):
            for x, y in loader:
                for optimizer in optimizers:
                    backward(criterion(net(x), y), optimizer)
                    advance(scaler, optimizer)

        def main():
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
            train(loader, net, [optimizer], scaler)
        """,
        """
        optimizer = torch.optim.Adam(net.parameters())  # of an earlier version
        optimizers = {"net": torch.optim.SGD(net.parameters(), lr=0.1)}
        for x, y in loader:
            net.zero_grad()
            loss(net(x), y).backward()
            advance(optimizers)
        """,
        """
        def fit(net, optimizer):
            def advance():
                optimizer.step()

            for x, y in loader:
                net.zero_grad()
                loss(net(x), y).backward()
                advance()

        optimizer = torch.optim.Adam(net.parameters())
        fit(net, optimizer)
        """,
        """
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        scaler = torch.amp.GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        """,
        """
        from engine import Engine
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        engine = Engine(model, optimizer)  # which steps it where that cannot be read
        for x, y in loader:
            optimizer.zero_grad()
            loss(engine(x), y).backward()
            engine.update()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for image, label in loader:  # a saliency map: the gradient itself is what is asked for
            optimizer.zero_grad()
            image.requires_grad_()
            model(image)[label].backward()
            show(image.grad.abs())
        """,
        """
        class Trainer:
            def __init__(self, model):
                self.opt = torch.optim.SGD(model.parameters(), lr=0.1)

            def accumulate(self, x, y):
                self.opt.zero_grad()
                self.loss(x, y).backward()

        trainer = Trainer(model)
        for x, y in loader:
            trainer.accumulate(x, y)
            trainer.opt.step()
        """,
        """
        def end_task(net, loader):
            idle = torch.optim.SGD(net.parameters(), lr=0)  # only for its zero_grad()
            for x, y in loader:
                idle.zero_grad()
                F.nll_loss(F.log_softmax(net(x), 1), y).backward()
                net.remember()
        """,
        """
        def benchmark(model, x):
            sgd = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(10):
                sgd.zero_grad()
                start = time.perf_counter()
                model(x).sum().backward()
                print(time.perf_counter() - start)
        """,
        """
        adam = torch.optim.Adam(model.parameters())
        advance = adam.step
        for x, y in loader:
            adam.zero_grad()
            loss(model(x), y).backward()
            advance()
        """,
        """
        class Module(LightningModule):
            def configure_optimizers(self):
                optimizer = torch.optim.Adam(self.parameters())
                return optimizer
        """,
        """
        import lightning as L

        class Gan(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                optimizer_g, optimizer_d = self.optimizers()
                optimizer_g.zero_grad()
                optimizer_d.zero_grad()
                self.manual_backward(self.loss_g(batch))
                self.advance(optimizer_g)
                self.advance(optimizer_d)
        """,
        """
        import lightning as L

        class Both(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                optimizer_a, optimizer_b = self.optimizers()
                optimizer_a.zero_grad()
                optimizer_b.zero_grad()
                self.manual_backward(self.loss(batch))
                for optimizer in (optimizer_a, optimizer_b):
                    optimizer.step()
        """,
        """
        import lightning as L

        class Gan(L.LightningModule):
            automatic_optimization = False

            def training_step(self, batch, index):
                optimizer_g, optimizer_d = self.optimizers()
                optimizer_g.zero_grad()
                self.manual_backward(self.loss_g(batch))
                optimizer_g.step()
                optimizer_d.zero_grad()
                self.judge(batch)

            def judge(self, batch):
                for part in batch.chunk(4):
                    self.manual_backward(self.loss_d(part) / 4)
                self.optimizers()[1].step()
        """,
        """
        body, head = nn.Linear(8, 8), nn.Linear(8, 1)
        spare = torch.optim.SGD(body.parameters(), lr=0.1)  # of another experiment
        optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()])
        for x, y in loader:
            optimizer.zero_grad()
            F.mse_loss(head(body(x)), y).backward()
            optimizer.step()
        """,
    )
    confirmed_by = Run(status="no step")
    not_confirmed_by = Run((Step(0),))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for made in script.optimizers:
            idle = bool(made.rates) and all(rate.value == 0 for rate in made.rates)
            asked = made.clears if not made.stepped and not idle else ()
            for clear in islice((clear for clear in asked if not _measures(script, clear)), 1):
                where = f"the {made.family.replace('*', 'optimizer')} of line {made.location.line}"
                sure = clear.location.path == made.location.path  # else another file may step what it is handed
                yield self.at(clear, f"clears the gradients of {where}, which never steps", certain=sure)
            if not made.stepped and not made.clears and not idle and _is_needed(script, made):
                yield self.at(made, "makes an optimizer of what a loss trains, and nothing steps it", certain=False)
        yield from self._unreached(script)
        for module in lightning.modules(script):
            step = module.methods.get("training_step")
            takes = [call for method in module.methods.values() for call in method.calls if call.method == "optimizers"]
            for clear in _never(step) if step is not None and module.manual and len(takes) == 1 else ():
                message = f"clears the gradients of `{clear.receiver}`, which never steps"
                yield self.at(clear, message, certain=module.alone)

    def _unreached(self, script: Script) -> Iterator[Diagnostic]:
        """Methods that hold all steps of a class that trains, and that nothing in the file names."""
        made = {call.name for call in script.calls}
        makers = {id(maker.call) for maker in script.optimizers}
        optimizers = {
            e.name for f in script.functions for e in f.events if e.kind == "assign" and id(e.value) in makers
        }
        for class_ in (class_ for class_ in script.classes if class_.name in made and not class_.bases):
            own = [f for f in script.functions if f.owner == class_.name]
            steps = [
                f for f in own for c in f.calls if c.method == "step" and c.receiver and c.receiver.name in optimizers
            ]
            backward = any(call.method == "backward" for f in own for call in f.calls)
            names = {f.name.rpartition(".")[2] for f in steps}
            if steps and backward and names.isdisjoint(script.called | script.attributes | {"step", "__call__"}):
                yield self.at(steps[0], f"steps the optimizer, and nothing calls `{steps[0].name}`", certain=False)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        if late := next(stepping.never(run), None):
            return Evidence("calls of backward() for an optimizer that never steps", late.backwards, 0)
        if run.status != "no step" and (not run.steps or len(run.optimizers) > 1):
            return None
        return Evidence("steps of an optimizer", len(run.steps), 1, holds=not run.steps)


def _measures(script: Script, clear: Value) -> bool:
    """Whether the function is called as those are that look at gradients, or at how long they take."""
    function = lookup.function(script, clear.location)
    return function is not None and MEASURES.search(f"{function.name} {PurePath(script.path).stem}") is not None


def _is_needed(script: Script, made: Optimizer) -> bool:
    """Whether a loop trains other weights, and its loss comes to those of this optimizer, which no other one holds."""
    others = [one for one in script.optimizers if one is not made]
    if not made.held or not all(one.held for one in others) or any(set(one.held) & set(made.held) for one in others):
        return False
    for loop in script.training_loops:
        origins = {id(origin) for backward in loop.of("backward") for origin in backward.origins}
        models = (act for act in loop.of("model") if act.recorded is True and id(act.call) in origins)
        if any(act.shares(made.held) for act in models):
            return True
    return False


def _never(step: Function) -> Iterator[Value]:
    """The clears of those of `self.optimizers()` that a method does nothing else with."""
    names = set(lightning.taken(step))
    done = [value for value in step.values if value.kind in ("name", "call")]
    for name in names:
        clears = [value for value in done if value.name == f"{name}.zero_grad"]
        idle = (value.name in (name, f"{name}.zero_grad") for value in done if value.name.partition(".")[0] == name)
        if clears and all(idle) and name not in lightning.handed(step):
            yield clears[0]
