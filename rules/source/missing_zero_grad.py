"""ML101."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.diagnostic import Location
from modellint.measure.trajectory import each_optimizer
from modellint.source import lookup
from modellint.source.facts import Act, TrainingLoop

HOOKS = frozenset({"register_step_pre_hook", "register_step_post_hook"})  # what they do, the loop does not tell


def _run(*norms: float) -> Run:
    return Run(tuple(Step(i, norms_at_backward=(norm,)) for i, norm in enumerate(norms)))


class MissingZeroGrad(SourceRule):
    """An optimizer steps in a loop, and its gradients are never cleared.

    Why: `backward()` adds to the gradients that it finds, so that each step follows the sum of all gradients since the
        start: an old direction that grows with every step.
    Fix: call `optimizer.zero_grad()` once for each `step()`, before `backward()` or right after `step()`.
    Ignore: when the sum over all steps is what the method asks for.
    Thresholds: a run confirms it when at least `steps` = 2 steps after the first found no gradient cleared at any of
        their `backward()` calls (0 false alarms in 129 healthy runs).
    Reported: https://github.com/facebookresearch/nwm/issues/16, https://github.com/pytorch/pytorch/issues/47175
    """

    code, severity, certain, topic = "ML101", Severity.ERROR, True, "gradients"
    explains, twins = ("update-too-large", "exploding-gradients"), ("stale-gradients",)
    remedy = "zero-grad"
    words = (".backward(", "manual_backward(")
    steps = 2
    bad = (
        """
        for x, y in loader:
            loss(model(x), y).backward()
            optimizer.step()
        """,
        """
        optimizer_g = torch.optim.Adam(generator.parameters())
        optimizer_d = torch.optim.Adam(discriminator.parameters())
        for real in loader:
            optimizer_g.zero_grad()
            g_loss().backward()
            optimizer_g.step()
            d_loss(real).backward()
            optimizer_d.step()
        """,
        """
        def update(criterion, x, y, opt):
            criterion(x, y).backward()
            opt.step()

        def train(model):
            sgd = torch.optim.SGD(model.parameters(), lr=0.1)
            while True:
                update(criterion, *next(batches), sgd)
        """,
        """
        accelerator = Accelerator()
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            accelerator.backward(F.cross_entropy(model(x), y))
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        """,
    )
    fixed = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        """,
        """
        optimizer_g = torch.optim.Adam(generator.parameters())
        optimizer_d = torch.optim.Adam(discriminator.parameters())
        for real in loader:
            optimizer_g.zero_grad()
            g_loss().backward()
            optimizer_g.step()
            optimizer_d.zero_grad()
            d_loss(real).backward()
            optimizer_d.step()
        """,
        """
        def update(criterion, x, y, opt):
            opt.zero_grad()
            criterion(x, y).backward()
            opt.step()

        def train(model):
            sgd = torch.optim.SGD(model.parameters(), lr=0.1)
            while True:
                update(criterion, *next(batches), sgd)
        """,
    )
    good = (
        """
        class Experiment:
            def run(self):
                self.net = nn.Linear(8, 2)
                self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
                for x, y in loader:
                    self.optimizer.zero_grad()
                    self.update(F.cross_entropy(self.net(x), y))

            def update(self, loss):
                loss.backward()
                self.optimizer.step()

        Experiment().run()
        """,
        """
        G, D = Generator(), Critic()
        g_optimizer, d_optimizer = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
        info_optimizer = torch.optim.Adam(itertools.chain(G.parameters(), D.parameters()))
        for x, codes in loader:
            d_optimizer.zero_grad()
            (D(G(codes).detach()).mean() - D(x).mean()).backward()
            d_optimizer.step()
            g_optimizer.zero_grad()
            (-D(G(codes)).mean()).backward()
            g_optimizer.step()
            F.mse_loss(D(G(codes)), codes).backward()  # of weights that the next pass clears
            info_optimizer.step()
        """,
        """
        from framework import Module

        class Learner(Module):  # the optimizer is the framework's
            def update(self):
                self.optim.step()

            def learn(self, batches):
                for i, batch in enumerate(batches):
                    self.loss(self.model(batch)).backward()
                    if i % 4 == 3:
                        self.update()
                        self.optim.zero_grad(set_to_none=True)

        learner = Learner(model, optimizer)
        for batches in loader:
            learner.learn(batches)
        """,
        """
        engine, _, loader, _ = deepspeed.initialize(model=model, config=config)
        for x, y in loader:  # its step() clears
            loss = engine(x, y)
            engine.backward(loss)
            engine.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad(set_to_none=True)
            loss(model(x), y).backward()
            optimizer.step()
        """,
        """
        class Solver:
            def __init__(self, generator, discriminator):
                self.g = torch.optim.Adam(generator.parameters())
                self.d = torch.optim.Adam(discriminator.parameters())

            def reset_grad(self):
                for opt in (self.g, self.d):
                    opt.zero_grad()

            def train(self):
                for real in self.loader:
                    self.reset_grad()
                    self.d_loss(real).backward()
                    self.d.step()
                    self.reset_grad()
                    self.g_loss().backward()
                    self.g.step()
        """,
        """
        for i, (x, y) in enumerate(loader):  # accumulation
            (loss(model(x), y) / 4).backward()
            if (i + 1) % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        for x, y in loader:
            for p in model.parameters():
                p.grad = None
            loss(model(x), y).backward()
            optimizer.step()
        """,
        """
        scheduler = DDPMScheduler()
        while True:  # no optimizer: a diffusion scheduler, an environment, an engine that clears by itself
            sample = scheduler.step(model(sample), t, sample)
            reward = env.step(action)
            loss(sample).backward()
        """,
        """
        engine, optimizer, _, _ = deepspeed.initialize(model=model)
        for x, y in loader:
            engine.backward(loss(engine(x), y))
            engine.step()
        """,
        """
        def zero_grad(parameters):
            for p in parameters:
                if p.grad is not None:
                    p.grad.detach_()
                    p.grad.zero_()

        def forget(parameters):
            for p in parameters:
                p.grad = None

        class Trainer:  # the method calls the function of its own name
            def __init__(self, model):
                self.parameters = list(model.parameters())
                self.heads = list(model.heads.parameters())

            def zero_grad(self):
                zero_grad(self.parameters)

            def optimize(self, optimizer):
                optimizer.step()

        trainer = Trainer(model)
        adam, sgd = torch.optim.Adam(trainer.parameters), torch.optim.SGD(trainer.heads)
        for x, y in loader:
            trainer.zero_grad()
            loss(model(x), y).backward()
            trainer.optimize(adam)
        for x, y in loader:
            forget(trainer.heads)
            loss(model(x), y).backward()
            trainer.optimize(sgd)
        """,
        """
        for trial in range(3):  # a new optimizer for each trial takes a single step
            loss(model(x), y).backward()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            optimizer.step()
            compare(model, reference)
        """,
        """
        def fresh(batches, optimizer):
            for batch in batches:
                optimizer.zero_grad()
                yield batch

        class Clearing(torch.optim.SGD):
            def step(self, closure=None):
                super().step(closure)
                self.zero_grad()

        adam, sgd = torch.optim.Adam(model.parameters()), Clearing(model.parameters(), lr=0.1)
        for x, y in fresh(loader, adam):  # the generator goes on in each pass
            loss(model(x), y).backward()
            adam.step()
        for x, y in loader:
            loss(model(x), y).backward()
            sgd.step()
        """,
        """
        sgd.register_step_post_hook(lambda optimizer, *_: optimizer.zero_grad())
        for x, y in loader:
            loss(model(x), y).backward()
            sgd.step()
        """,
        """
        for task in tasks:  # Reptile: the gradient is put in by hand
            fast = copy.deepcopy(model)
            inner = torch.optim.SGD(fast.parameters(), lr=0.1)
            for x, y in task:
                inner.zero_grad()
                loss(fast(x), y).backward()
                inner.step()
            for slow, quick in zip(model.parameters(), fast.parameters()):
                slow.grad = slow.data - quick.data
            optimizer.step()
        """,
        """
        def closure():
            optimizer.zero_grad()
            output = loss(model(x), y)
            output.backward()
            return output

        optimizer = torch.optim.LBFGS(model.parameters())
        for _ in range(20):
            optimizer.step(closure)
        """,
    )
    suspected = (
        """
        model.train()  # a part of a script: both names may be one optimizer's
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optim.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = Body(), nn.Linear(4, 2)

            def weights(self):
                return list(self.body.parameters())

            def forward(self, x):
                return self.head(self.body(x))

        critic, net = nn.Linear(4, 1), Net()
        optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
        for x, y in loader:
            net.zero_grad()
            F.mse_loss(critic(x), y).backward()
            optimizer.step()
        """,
        """
        class Strategy:
            def optimizer_step(self, optimizer, model):
                model.step()  # an engine's own

        class Trainer:
            def __init__(self, model, strategy):
                self.model, self.strategy = model, strategy
                self.optimizer = torch.optim.AdamW(model.parameters())

            def train(self):
                for x, y in self.loader:
                    F.mse_loss(self.model(x), y).backward()
                    self.strategy.optimizer_step(self.optimizer, self.model)
        """,
        """
        p = torch.nn.Parameter(torch.zeros(0))
        optimizer = torch.optim.SGD([p], lr=5)
        schedule = Warmup(optimizer, 100)
        rates = []
        for step in range(200):
            p.sum().backward()
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
            schedule.step()
        """,
    )

    confirmed_by = _run(0.0, 0.7, 1.2, 1.9)
    not_confirmed_by = _run(0.0, 0.0, 0.0, 0.0)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops if HOOKS.isdisjoint(script.attributes) else ():
            if loop.whole and any(act.kind == "backward" for act in loop.acts):
                yield from self._uncleared(script, loop)

    def _uncleared(self, script: Script, loop: TrainingLoop) -> Iterator[Diagnostic]:
        fresh = [made for made in script.optimizers if _is_inside(made.location, loop.location)]
        for step in {step.subjects: step for step in loop.steps}.values():
            if any(_may_clear(act) or _clears(act, step) for act in loop.acts) or any(
                made.made(step) for made in fresh
            ):
                continue
            if any(_clears(act, step) for act in loop.outer):
                message = "clears the gradients of the optimizer only outside the loop in which it steps"
                yield self.at(step, message, certain=False)
            else:
                here = step.call.method == "step" and lookup.share_function(script, step, *loop.of("backward"))
                sure = here and not (
                    _clears_modules(loop) or _is_plotted(script, loop) or _is_renamed(script, loop, step)
                )
                yield self.at(step, "steps the optimizer in a loop that never clears its gradients", certain=sure)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        later = [[min(s.norms_at_backward) for s in steps[1:] if s.norms_at_backward] for steps in each_optimizer(run)]
        found = max(later, key=lambda norms: sum(norm > 0 for norm in norms), default=[])
        if len(found) < self.steps:
            return None
        stale = sum(norm > 0 for norm in found) >= self.steps
        return Evidence("gradient norm that backward() found", max(found), 0.0, holds=stale, series=tuple(found))

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for loop, step in lookup.acts(script, finding):
            code = "{0}.zero_grad()" if step.scaled else "{receiver}.zero_grad()"
            if step.call.arguments and not step.scaled:  # a closure, or an engine that is given the optimizer
                return None
            passed = takewhile(lambda act: act.kind != "step", loop.before(step))
            backwards = [act for act in passed if act.kind == "backward"]
            if backwards and all(
                _as_often(act, step) and lookup.share_function(script, act, step) for act in backwards
            ):
                return Fix((edit.insert(code, of=step, before=backwards[-1]),))
            if len(loop.steps) == 1 and "grad" not in script.attributes:  # nothing may read the gradients after step()
                return Fix((edit.insert(code, of=step, after=step),))
        return None


def _as_often(backward: Act, step: Act) -> bool:
    """Not so with gradient accumulation, which steps after several backward() calls only."""
    return backward.branches[: len(step.branches)] == step.branches


def _clears_modules(loop: TrainingLoop) -> bool:
    """Whether gradients of a module are cleared, of which the optimizer may hold a part that is not seen."""
    return any(act.kind == "clear" and not act.subjects for act in loop.acts)


def _is_renamed(script: Script, loop: TrainingLoop, step: Act) -> bool:
    """Whether an optimizer that nobody sees made may be the one that is cleared by another name."""
    return any(act.kind == "clear" for act in loop.acts) and not any(made.made(step) for made in script.optimizers)


def _is_plotted(script: Script, loop: TrainingLoop) -> bool:
    """Whether no model is trained: steps are taken to see what a schedule does to the rate."""
    return not any(loop.of("model")) and not script.attributes.isdisjoint(("param_groups", "get_last_lr"))


def _is_inside(place: Location, loop: Location) -> bool:
    """Whether something is made anew in each pass of a loop."""
    first, last = loop.line or 0, loop.end_line or 0
    return place.path == loop.path and first <= (place.line or 0) <= last


def _may_clear(act: Act) -> bool:
    """Whether a framework may do it: some step and clear in one; `accelerator.backward(loss)` and its like do not."""
    return bool(act.owner) and not (act.owner == "framework" and act.kind in ("backward", "clip"))


def _clears(act: Act, step: Act) -> bool:
    """Whether it may: another optimizer of the same weights does it too."""
    return act.kind == "unknown" or (act.kind == "clear" and (act.concerns(step) or act.shares(step.parameters)))
