"""ML128."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.measure.statistics import median
from modellint.source import microbatches
from modellint.source.code import Value
from modellint.source.facts import Act, Optimizer, TrainingLoop

ADAPTIVE = (
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "RAdam",
    "Adagrad",
    "Adadelta",
    "RMSprop",
    "Lion",
    "Adafactor",
    "LAMB",
    "Lamb",
)
DIVIDES = ("/", "//", "*", "div", "div_", "mul", "mul_", "true_divide", "sum")


def _run(ratio: float) -> Run:
    return Run(tuple(Step(i, loss=2.0 * ratio, class_loss=2.0, backwards=4) for i in range(3)))


class AccumulationScale(SourceRule):
    """Gradients of several batches are added up before a step, and the loss is not divided by their number.

    Why: the step then follows the sum, not the mean: with SGD the learning rate is in effect as many times larger, and a
        clip bounds a gradient that is as many times longer, so that the setting no longer means what it says.
    Fix: `(loss / accumulation_steps).backward()`.
    Ignore: when the learning rate was chosen for the sum, and for losses that sum over tokens and are divided later.
        Adam and its relatives do not see the scale; they are reported only where a clip does.
    Thresholds: a run confirms it when the median loss that backward() starts from is more than `share` = 0.75 of the
        mean cross entropy of its batch, though several batches feed a step (a divided loss gives one half or less).
    Reported: https://github.com/hirofumi0810/neural_sp/issues/168, https://github.com/agokrani/distillKitPlus/issues/5
    """

    code, severity, topic = "ML128", Severity.WARNING, "gradients"
    explains = ("update-too-large", "exploding-gradients")
    words = (".backward(",)
    share = 0.75
    bad = (
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for i, (x, y) in enumerate(loader):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            if (i + 1) % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        class Trainer:
            def __init__(self, net, every):
                self.net, self.every = net, every
                self.criterion = nn.CrossEntropyLoss()
                self.optimizer = torch.optim.AdamW(net.parameters())

            def update(self):
                torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad()

            def fit(self, loader):
                for i, (x, y) in enumerate(loader):
                    loss = self.criterion(self.net(x), y)
                    loss.backward()
                    if (i + 1) % self.every == 0 or i + 1 == len(loader):
                        self.update()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for i, (x, y, box) in enumerate(loader):
            scores, corners = model(x)
            loss = F.cross_entropy(scores, y) + 0.5 * F.smooth_l1_loss(corners, box)
            scaler.scale(loss).backward()
            if (i + 1) % 4 == 0:
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(5000):
            optimizer.zero_grad()
            for micro_step in range(accumulate):
                x, y = get_batch()
                F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
    )
    good = (
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(5000):
            optimizer.zero_grad()
            for micro_step in range(accumulate):
                x, y = get_batch()
                (F.cross_entropy(model(x), y) / accumulate).backward()
            optimizer.step()
            optimizer.zero_grad()
            for task in tasks:  # one step for the sum of all tasks
                F.cross_entropy(model(task.x), task.y).backward()
            optimizer.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for i, (x, y) in enumerate(loader):
            loss = F.cross_entropy(model(x), y) / 4
            loss.backward()
            if (i + 1) % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        optimizer = torch.optim.SGD(q.parameters(), lr=0.1)
        for step in range(100000):  # nothing is added up: it learns at every fourth step
            act(q)
            if step % 4 == 0:
                optimizer.zero_grad()
                F.smooth_l1_loss(q(states()), targets()).backward()
                optimizer.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for i, (x, y) in enumerate(loader):  # cleared in each pass
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if i % 2 == 0:
                optimizer.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for i, (x, y) in enumerate(loader):  # a sum over all tokens, which is divided where they are counted
            F.cross_entropy(model(x), y, reduction="sum").backward()
            if (i + 1) % 4 == 0:
                divide(model.parameters(), tokens)
                optimizer.step()
                optimizer.zero_grad()
        """,
        """
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for i, (x, y) in enumerate(loader):
            F.cross_entropy(model(x), y).backward()
            if (i + 1) % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
        """,
    )
    confirmed_by = _run(1.0)
    not_confirmed_by = _run(0.25)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        losses = {loss.call: loss.settings for loss in script.objectives}
        for loop in script.training_loops:
            for step in loop.steps:
                makers = [made for made in script.trainers if made.made(step)]
                seen = _sees_scale(loop, makers)
                for backward in (*_added(loop, step), *_gathered(script, loop, step)) if seen else ():
                    if _is_mean(backward, losses, loop) and not _is_divided(backward, loop):
                        yield self.at(backward, "adds up the gradients of several batches and not their mean")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        found = [_weight(run, step) for step in run.steps if step.backwards > 1]
        ratios = [ratio for ratio in found if ratio is not None]
        if not ratios:
            return None
        ratio = median(ratios)
        return Evidence(
            "loss that backward() starts from / mean loss of its batch", ratio, self.share, holds=ratio > self.share
        )


def _weight(run: Run, step: Step) -> float | None:
    """What one is to what backward() starts from: the mean loss of a batch by its derivative, else by its value."""
    if step.loss_weight is not None and run.loss is not None and run.loss.reduction == "mean":
        return step.loss_weight
    return step.loss / step.class_loss if step.loss is not None and step.class_loss else None


def _added(loop: TrainingLoop, step: Act) -> Iterator[Act]:
    """The backward() of each pass, where the step and all that clears the gradients come only every few passes."""
    rare = {branch for branch in step.branches if "%" in branch[0]}
    clears = [act for act in loop.of("clear") if act.concerns(step)]
    if not rare or not clears or any(rare.isdisjoint(clear.branches) for clear in clears) or _is_owned(loop):
        return
    for act in loop.before(step):
        if act.kind == "backward" and rare.isdisjoint(act.branches) and not act.loops:
            yield act


def _gathered(script: Script, loop: TrainingLoop, step: Act) -> Iterator[Act]:
    """The backward() of each micro-batch in a loop before the step, whose gradients nothing clears there."""
    cleared = [act.loops for act in loop.of("clear")]
    for act in loop.before(step) if cleared and not _is_owned(loop) else ():
        if act.kind == "backward" and microbatches.gathers(script, act, step) and act.loops not in cleared:
            yield act


def _is_mean(backward: Act, losses: dict[Value, Value], loop: TrainingLoop) -> bool:
    """Whether it starts from the mean loss of a batch, a sum of such, or the loss that a model itself computes."""
    start = next((o for o in backward.origins if o.method != "scale"), None)
    parts = [part.value for part in backward.summands]
    known = [part for part in parts if part in losses]
    parts = known or ([start] if start in losses else [])
    reductions = [losses[part].argument(None, "reduction") for part in parts]
    mean = bool(parts) or any(start is model.call for model in loop.of("model"))
    return mean and all(reduction is None or reduction.constant == "mean" for reduction in reductions)


def _is_owned(loop: TrainingLoop) -> bool:
    return any(act.owner or act.kind == "unknown" for act in loop.acts)


def _sees_scale(loop: TrainingLoop, makers: list[Optimizer]) -> bool:
    return bool(makers) and (any(made.family not in (*ADAPTIVE, "*") for made in makers) or bool(loop.clips))


def _is_divided(backward: Act, loop: TrainingLoop) -> bool:
    """Whether the whole loss is divided within the loop: what made the data before it does not scale the loss, nor does
    the weight of one of its summands."""
    start, end = loop.location.line or 0, backward.location.line or 0
    within = (o for o in backward.origins if start <= (o.location.line or 0) <= end)
    divisions = (o for o in within if o.name in DIVIDES or o.method in DIVIDES)
    return not all(_weighs_one(division, backward) for division in divisions)


def _weighs_one(factor: Value, backward: Act) -> bool:
    inside = [any(value is part.value for value in factor.within()) for part in backward.summands]
    return any(inside) and not all(inside)
