"""ML117."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.pattern import pattern
from modellint.source import lookup, tensors
from modellint.source.code import Value
from modellint.source.facts import Act, Schedule, TrainingLoop

PLAIN = frozenset(
    "StepLR MultiStepLR ExponentialLR CosineAnnealingLR CosineAnnealingWarmRestarts LambdaLR MultiplicativeLR LinearLR "
    "PolynomialLR OneCycleLR CyclicLR".split()
)  # that no metric moves
METRIC = pattern(r"(?:^|_)(?:loss|acc|accuracy|error|score|metric|f1|auc|dice|iou)(?:es)?(?:_|$)|Loss$|^val_?loss")
FALLING = frozenset(
    "get_linear_schedule_with_warmup get_cosine_schedule_with_warmup get_polynomial_decay_schedule_with_warmup".split()
)
BATCHES = pattern(r"(?i:batch|step|len\()")
EPOCHS = pattern(r"(?i:range\(.*epoch)")
SHORT = {"StepLR": (1, "step_size"), "MultiStepLR": (1, "milestones")}


def _run(*rates: float) -> Run:
    return Run(tuple(Step(i, learning_rate=rate) for i, rate in enumerate(rates)))


class SchedulerOrder(SourceRule):
    """A learning rate scheduler is stepped before the optimizer, or in another rhythm than its horizon counts.

    Why: stepped before the optimizer, the schedule loses its first value. One that counts epochs and is stepped for
        each batch has run down within the first epoch, and the model stops learning; one that counts batches and is
        stepped for each epoch never leaves its warm-up. And a loss given to `step()` of any but `ReduceLROnPlateau` counts
        as the number of the epoch: a small one, at which no rate ever falls.
    Fix: step the scheduler after the optimizer: after each batch if its horizon counts batches (`OneCycleLR`,
        `T_max=epochs * len(loader)`), else after each epoch.
    Ignore: when the horizon is meant as it is written; what only its name or a small number tells is a suspicion.
    Thresholds: a `step_size` or first milestone up to `batches` = 100 inside a loop over batches is suspected, and an
        `ExponentialLR` that halves the rate within as many; a run confirms it when the rate fell by half within it.
    Reported: https://github.com/sthalles/SimCLR/issues/8, https://github.com/automl/Auto-PyTorch/issues/211
    """

    code, severity, topic = "ML117", Severity.WARNING, "schedule"
    explains = ("loss-not-falling",)
    twins = ("learning-rate-trajectory",)
    words = (
        ("lr_scheduler", ".step("),
        ("_schedule(", "optim", ".step("),
        "scheduler.step(",
        ("LR(", "optim", ".step("),
    )
    batches = 100
    bad = (
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30)
        for epoch in range(90):
            scheduler.step()
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
        """,
        """
        from torch.optim.lr_scheduler import CosineAnnealingLR

        class Trainer:
            def __init__(self, model, epochs):
                self.epochs = epochs
                self.optimizer = torch.optim.AdamW(model.parameters())
                self.scheduler = CosineAnnealingLR(self.optimizer, T_max=epochs)

            def train_epoch(self):
                for x, y in self.loader:
                    self.optimizer.zero_grad()
                    self.loss(x, y).backward()
                    self.optimizer.step()
                    self.scheduler.step()

            def fit(self):
                for epoch in range(self.epochs):
                    self.train_epoch()
        """,
        """
        optimizer = torch.optim.AdamW(model.parameters())
        steps = len(loader) * args.epochs
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
        for epoch in range(args.epochs):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
            schedule.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
        for epoch in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
                scheduler.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10)
        for epoch in range(90):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
            scheduler.step(val_loss)
        """,
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                scheduler.step(loss)
        """,
        """
        from transformers import get_linear_schedule_with_warmup

        total_steps = len(loader)
        scheduler = get_linear_schedule_with_warmup(optimizer, 100, total_steps)
        for epoch in range(4):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                scheduler.step()
        """,
    )
    suspected = """
        updates = epochs * (len(loader) // 4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=updates)
        for epoch in range(epochs):
            for i, (x, y) in enumerate(loader):
                (F.cross_entropy(model(x), y) / 4).backward()
                if (i + 1) % 4 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
                scheduler.step()
        """
    good = (
        """
        from transformers import get_linear_schedule_with_warmup

        total_steps = len(loader) * 4
        scheduler = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=100, num_training_steps=total_steps)
        for epoch in range(4):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                scheduler.step()
        """,
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2000)
        slow = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
        for epoch in range(30):
            for i, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                scheduler.step(loss)
                if i % 1000 == 0:
                    slow.step(loss)
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * len(loader))
        for epoch in range(epochs):
            for i, (x, y) in enumerate(loader):
                (F.cross_entropy(model(x), y) / 4).backward()
                if (i + 1) % 4 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
                scheduler.step()
        """,
        """
        for series in data:  # each at once
            scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [int(args.epochs * 0.5)])
            for epoch in range(args.epochs):
                optimizer.zero_grad()
                F.mse_loss(model(series.x), series.y).backward()
                optimizer.step()
                scheduler.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30)
        for epoch in range(90):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
            scheduler.step()
        """,
        """
        optimizer = torch.optim.AdamW(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, epochs=20, steps_per_epoch=len(loader))
        for epoch in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
                schedule.step()
        """,
        """
        def fit(model, loader, epochs, per_epoch):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            horizon = epochs * per_epoch
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=horizon)
            for epoch in range(epochs):
                for x, y in loader:
                    optimizer.zero_grad()
                    loss(model(x), y).backward()
                    optimizer.step()
                    schedule.step()
        """,
        """
        scheduler = DDPMScheduler(num_train_timesteps=1000)
        optimizer = torch.optim.AdamW(unet.parameters())
        for epoch in range(20):
            for x in loader:  # a diffusion scheduler moves a sample, not a learning rate
                sample = scheduler.step(unet(x), t, x).prev_sample
                optimizer.zero_grad()
                loss(sample).backward()
                optimizer.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
        for _ in range(start):  # a run that is taken up again
            scheduler.step()
        for epoch in range(start, epochs):
            if epoch > start:
                scheduler.step()
            for i, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10)
        for epoch in range(epochs):
            for i, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
                scheduler.step(epoch + i / len(loader))
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30)
        for epoch in range(90):
            for i, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
                if i + 1 == len(loader):
                    scheduler.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30)
        for epoch in range(90):  # one pass is one epoch
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            scheduler.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        drops = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=args.lr_steps)  # epochs, by the usual name
        for epoch in range(90):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
            drops.step()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters())
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        if args.cosine:
            plateau = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 10)
        restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 10)
        for epoch in range(90):
            for i, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
                restarts.step(epoch + i / len(loader))
            plateau.step(val_loss)
        """,
    )
    confirmed_by = _run(*(0.1 * 0.9**i for i in range(10)))
    not_confirmed_by = _run(*[0.1] * 10)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for act in (*loop.ahead, *loop.acts):
                if act.kind == "schedule" and _is_early(loop, act):
                    message = (
                        "steps the scheduler before the optimizer, so that the first value of its schedule is skipped"
                    )
                    yield self.at(act, message, certain=True)
            yield from self._rhythm(loop)
            yield from self._plateaus(loop)
            yield from self._accumulated(loop)
            yield from self._run_down(script, loop)
            for act in (*loop.outer, *loop.acts):
                if act.kind == "schedule" and (given := _metric(act)):
                    taken = f"gives the {act.schedules[0].name} `{given}`, which it takes for the number of an epoch"
                    yield self.at(act, taken, certain=True)

    def _rhythm(self, loop: TrainingLoop) -> Iterator[Diagnostic]:
        """Schedules that are stepped for each batch and count epochs, or the other way round."""
        batch = [act for act in loop.of("schedule") if _is_each_pass(loop, act)]
        moved = {schedule.call for act in loop.of("schedule") for schedule in act.schedules}
        over = str(loop.over[-1]) if loop.over else ""
        whole = EPOCHS.search(over) is not None  # all data at once
        counted = over.startswith("range(") and not BATCHES.search(over)  # maybe the same
        for act in batch if loop.around and not whole else ():
            yield from (finding for schedule in act.schedules for finding in self._per_batch(act, schedule, counted))
        for act in loop.outer:
            for schedule in act.schedules:
                if schedule.counts == "batches" and schedule.call not in moved and _is_plain(act.call):
                    message = f"steps for each epoch the {schedule.name} whose horizon counts batches"
                    yield self.at(act, message, certain=schedule.certain)

    def _run_down(self, script: Script, loop: TrainingLoop) -> Iterator[Diagnostic]:
        """A schedule that falls to zero within as many steps as one epoch has, in a loop over epochs."""
        for act in loop.of("schedule") if loop.around else ():
            for schedule in act.schedules if _is_each_pass(loop, act) else ():
                if schedule.name not in FALLING:
                    continue
                given = schedule.call.argument(2, "num_training_steps")
                function = lookup.function(script, schedule.location) if schedule.location.path == script.path else None
                made = tensors.followed(function, given) if function is not None and given is not None else None
                if made is not None and made.kind == "call" and made.name == "len" and made.arguments:
                    message = (
                        f"falls to zero within `{made}` steps, which one epoch has: the later epochs learn nothing"
                    )
                    yield self.at(schedule, message, certain=False)

    def _plateaus(self, loop: TrainingLoop) -> Iterator[Diagnostic]:
        """A plateau that is told the loss of each batch, with a patience of a few."""
        over = str(loop.over[-1]) if loop.over else ""
        for act in loop.of("schedule") if loop.around and not over.startswith("range(") else ():
            always = not act.loops and any(set(act.branches) <= set(step.branches) for step in loop.steps)
            for schedule in act.schedules if always and act.call.arguments else ():
                patience = schedule.call.argument(3, "patience")
                few = patience is None or (patience.number is not None and patience.number <= self.batches)
                if schedule.name == "ReduceLROnPlateau" and few and not schedule.call.unpacks:
                    message = f"tells the plateau of line {schedule.location.line} each batch's loss: its patience counts epochs"
                    yield self.at(act, message, certain=False)

    def _accumulated(self, loop: TrainingLoop) -> Iterator[Diagnostic]:
        """Schedules of a loop that steps its optimizer in every so many passes, by their number."""
        if not loop.steps or not all(map(_is_counted, loop.steps)) or any(step.loops for step in loop.steps):
            return
        for act in (act for act in loop.of("schedule") if not act.loops and _is_plain(act.call) and not act.owner):
            for schedule in (schedule for schedule in act.schedules if schedule.counts == "batches"):
                if schedule.divided and not _is_counted(act):
                    message = f"steps in each pass the {schedule.name} whose horizon counts the steps of the optimizer"
                    yield self.at(act, message)
                elif schedule.certain and not schedule.divided and _is_counted(act):
                    message = f"steps in some passes the {schedule.name} whose horizon counts them all"
                    yield self.at(act, message)

    def _per_batch(self, act: Act, schedule: Schedule, counted: bool) -> Iterator[Diagnostic]:
        if schedule.counts == "epochs":
            message = f"steps for each batch the {schedule.name} whose horizon counts epochs"
            yield self.at(act, message, certain=schedule.certain and not counted)
        elif schedule.counts == "" and self._is_short(schedule):
            yield self.at(act, f"steps for each batch the {schedule.name} of line {schedule.location.line}")

    def _is_short(self, schedule: Schedule) -> bool:
        """Whether it lowers the rate within so few steps that epochs are meant."""
        if schedule.name == "ExponentialLR":
            gamma = _number(schedule.call.argument(1, "gamma"))
            return gamma is not None and 0 < gamma**self.batches < 0.5
        given = schedule.call.argument(*SHORT[schedule.name]) if schedule.name in SHORT else None
        first = given.arguments[0] if given is not None and given.arguments else given
        number = _number(first)
        return number is not None and number <= self.batches

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        series = tuple(step.learning_rate for step in run.steps)
        rates = [rate for rate in series if rate is not None]
        if len(rates) < 3 or not rates[0]:
            return None
        left = rates[-1] / rates[0]
        return Evidence("last learning rate / first", left, 0.5, holds=left < 0.5, series=series)


def _is_early(loop: TrainingLoop, act: Act) -> bool:
    """Whether a scheduler of PyTorch's own is stepped in each pass before the optimizer whose rate it moves."""
    acts = loop.acts if act in loop.acts else loop.outer
    earlier = acts[: next(i for i, other in enumerate(acts) if other is act)]
    moved = {made for schedule in act.schedules for made in schedule.optimizers}
    steps = [step for step in loop.steps if step not in earlier and not step.owner and moved & set(step.subjects)]
    first = bool(steps) and not any(other.kind in ("step", "unknown") or other.owner for other in earlier)
    return first and set(act.branches) <= set(steps[0].branches) and _is_plain(act.call)


def _is_each_pass(loop: TrainingLoop, act: Act) -> bool:
    steps = [step for step in loop.steps if not step.loops]
    return not act.loops and any(set(act.branches) <= set(step.branches) for step in steps) and _is_plain(act.call)


def _is_counted(act: Act) -> bool:
    """Whether only some passes come to it, by their number."""
    return any("%" in branch[0] for branch in act.branches)


def _metric(act: Act) -> str:
    """A loss or score that a scheduler is stepped with which takes none."""
    given = act.call.argument(0, "epoch")
    named = given is not None and given.kind in ("name", "call") and METRIC.search(given.method)
    plain = act.schedules and all(schedule.name in PLAIN for schedule in act.schedules)
    return str(given) if named and plain else ""


def _is_plain(call: Value) -> bool:
    """Without an epoch or a metric as its argument."""
    return not call.arguments and not call.keywords


def _number(value: Value | None) -> float | None:
    return value.number if value is not None else None
