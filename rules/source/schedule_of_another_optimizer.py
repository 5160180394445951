"""ML171."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup
from modellint.source.code import Event, Function
from modellint.source.facts import MADE, path_of
from modellint.source.schedules import TORCH
from modellint.source.vocabulary import is_optimizer

RATES = frozenset({"get_last_lr", "get_lr"})


class ScheduleOfAnotherOptimizer(SourceRule):
    """The scheduler moves the learning rate of an optimizer that is never stepped.

    Why: a scheduler keeps the optimizer that it is made with. When another one is made later and steps instead, the schedule
        goes on in an object that nobody uses: the rate of the training stays where it began.
    Fix: make the scheduler after the optimizer that steps, and with it.
    Ignore: nothing; optimizers that cannot be told apart by reading are not reported. A suspicion unless one function makes the
        scheduler and takes all steps.
    Reported: https://github.com/airaria/TextBrewer/issues/12 (of parameters that come after the scheduler)
    """

    code, severity, certain, topic = "ML171", Severity.ERROR, True, "optimizer"
    words = (("lr_scheduler", pattern(rb"lr_scheduler(?!\.py)")),)
    bad = (
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            scheduler.step()
        """,
    )
    good = (
        """
        adam, curve = torch.optim.Adam(model.parameters()), torch.optim.SGD([torch.zeros(1)], lr=0.1)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(curve, 100)
        for x, y in loader:
            for group in adam.param_groups:
                group["lr"] = scheduler.get_last_lr()[0]
            adam.zero_grad()
            F.cross_entropy(model(x), y).backward()
            adam.step()
            scheduler.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        warmup = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=100)
        steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1000])
        scheduler = torch.optim.lr_scheduler.ChainedScheduler([warmup, steps])
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            scheduler.step()
        """,
        """
        g_optimizer = torch.optim.Adam(G.parameters())
        d_optimizer = torch.optim.Adam(D.parameters())
        g_scheduler = torch.optim.lr_scheduler.StepLR(g_optimizer, 10)
        d_scheduler = torch.optim.lr_scheduler.StepLR(d_optimizer, 10)
        for epoch in range(30):
            for real in loader:
                d_optimizer.zero_grad()
                (D(G(noise()).detach()).mean() - D(real).mean()).backward()
                d_optimizer.step()
                if step % 5 == 0:
                    g_optimizer.zero_grad()
                    D(G(noise())).mean().backward()
                    g_optimizer.step()
            g_scheduler.step()
            d_scheduler.step()
        """,
        """
        if args.adam:
            optimizer = torch.optim.Adam(model.parameters())
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            scheduler.step()
        """,
        """
        class Optimizer(torch.optim.Adam):
            def schedule_by(self, scheduler_class, **options):
                self.scheduler = scheduler_class(self, **options)

        optimizer = Optimizer(model.parameters())
        optimizer.schedule_by(torch.optim.lr_scheduler.MultiStepLR, milestones=[10])
        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            optimizer.scheduler.step()
        """,
    )
    suspected = (
        """
        def train(optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(30):
            train(optimizer)
            scheduler.step()
        """,
        """
        optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        train(model, optimizer, scheduler, 10)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        train(model, optimizer, scheduler, 20)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        told = list(self._idle(script))
        yield from told
        if not told:
            for function in script.functions:
                yield from self._outlived(function)

    def _outlived(self, function: Function) -> Iterator[Diagnostic]:
        """Schedulers that are used on after the name of their optimizer has been given to another one."""
        for at, event in enumerate(function.events):
            given = event.value.argument(0, "optimizer") if event.value is not None and _schedules(event) else None
            if event.value is None or given is None or given.kind != "name":
                continue
            anew = next((i for i, e in _later(function, at) if e.name == given.name and _makes_optimizer(e)), None)
            if anew is None or any(e.name == event.name and e.kind == "assign" for _, e in _later(function, at)):
                continue
            line, block = function.events[anew].location.line, function.events[anew].block
            used = [
                e for _, e in _later(function, anew) if block in function.enclosing(e.block) and _uses(e, event.name)
            ]
            if used and event.block in function.enclosing(block):
                message = f"moves the rate of an optimizer that line {line} replaces, and is used on after that"
                yield self.at(event.value, message, certain=False)

    def _idle(self, script: Script) -> Iterator[Diagnostic]:
        loops = script.training_loops
        steps = [act for loop in loops for act in (*loop.acts, *loop.outer) if act.kind == "step"]
        stepped = {subject for step in steps for subject in step.subjects}
        by_hand = RATES & script.called and "param_groups" in script.attributes  # the schedule may be read
        if by_hand or not steps or not all(step.subjects and all(map(MADE.search, step.subjects)) for step in steps):
            return
        acts = [
            act for loop in loops for act in (*loop.of("schedule"), *(a for a in loop.outer if a.kind == "schedule"))
        ]
        together = lookup.share_function(script, *steps)
        for schedule in {id(s): s for act in acts for s in act.schedules}.values():
            if schedule.optimizers and stepped.isdisjoint(schedule.optimizers):
                made = all(path_of(subject) == script.path for subject in (*stepped, *schedule.optimizers))
                sure = made and together and lookup.share_function(script, schedule, steps[0])
                yield self.at(schedule, f"gives {schedule.name} an optimizer that is never stepped", certain=sure)


def _schedules(event: Event) -> bool:
    return event.kind == "assign" and event.value is not None and event.value.name.startswith(TORCH)


def _makes_optimizer(event: Event) -> bool:
    made = event.value if event.kind == "assign" else None
    return made is not None and made.kind == "call" and is_optimizer(made.name)


def _later(function: Function, at: int) -> Iterator[tuple[int, Event]]:
    return ((i, event) for i, event in enumerate(function.events) if i > at)


def _uses(event: Event, scheduler: str) -> bool:
    """Whether a scheduler is stepped or given on; its state may be saved."""
    call = event.value if event.kind == "call" else None
    return call is not None and (
        call.name == f"{scheduler}.step" or any(given.name == scheduler for given in call.arguments)
    )
