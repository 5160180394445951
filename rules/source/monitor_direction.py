"""ML154."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value
from modellint.source.metrics import called, direction
from modellint.source.sums import negated

CALLBACKS = {"EarlyStopping": "min", "ModelCheckpoint": "min"}  # with the mode that they take where none is given
ARGUMENTS = ("TrainingArguments", "Seq2SeqTrainingArguments")
COUNTER = pattern(r"(\w+_)?epochs?(_(num|idx|no|i))?|(global_)?step|iteration|i")
PLATEAU = "ReduceLROnPlateau"


class MonitorDirection(SourceRule):
    """What watches a metric takes it for better when it is worse.

    Why: `ReduceLROnPlateau`, `EarlyStopping` and `ModelCheckpoint` wait for a value that falls unless they are told
        `mode="max"`; the Trainer of transformers waits for one that rises unless its name ends in "loss". Given an
        accuracy, or a word error rate, they lower the rate while the model improves, stop early, and keep the worst weights.
    Fix: give the mode (`greater_is_better`) that fits the metric.
    Ignore: when the name of the metric says the opposite of what it is.
    Reported: https://github.com/md-mohaiminul/ViS4mer/issues/4, https://github.com/FunctionLab/selene/issues/115
    """

    code, severity, certain, topic = "ML154", Severity.WARNING, True, "evaluation"
    explains = ("learning-rate-trajectory",)
    calls = (PLATEAU, *CALLBACKS, *ARGUMENTS)
    words = (
        PLATEAU,
        *((name, "torch") for name in CALLBACKS),
        *((name, "lightning") for name in CALLBACKS),
        "metric_for_best_model",
    )
    bad = (
        """
        class Net(L.LightningModule):
            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
                scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max")
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}
        """,
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
        for epoch in range(30):
            train(model)
            val_acc = evaluate(model)
            scheduler.step(val_acc)
        """,
        """
        def prepare(model):
            optimizer = torch.optim.Adam(model.parameters())
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.2)
            return optimizer, scheduler

        optimizer, scheduler = prepare(model)
        for epoch in range(30):
            scheduler.step(train(model)["accuracy"])
            accuracy = evaluate(model)
            scheduler.step(accuracy)
        """,
        """
        import torch
        from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

        callbacks = [ModelCheckpoint(monitor="val_accuracy", mode="min"), EarlyStopping("val/loss", mode="min")]
        """,
        """
        from transformers import TrainingArguments

        args = TrainingArguments("out", metric_for_best_model="wer", load_best_model_at_end=True)
        """,
        """
        def schedule(optimizer):
            return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)

        scheduler = schedule(optimizer)
        for epoch in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
            scheduler.step(-val_loss)
        """,
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min")
        for epoch in range(10):
            train(model)
            scheduler.step(epoch)
        """,
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=5)
        for epoch in range(10):
            value = validate(model)
            scheduler.step(value)
            if value < best:
                best = value
                torch.save(model.state_dict(), "best.pt")
        """,
    )
    suspected = (
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        for epoch in range(30):
            loss_epoch = train(model)
            scheduler.step(loss_epoch)
        """,
    )
    good = (
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=5)
        for epoch in range(10):
            value, other = validate(model)
            scheduler.step(value)
            if other < best:
                best = other
                torch.save(model.state_dict(), "best.pt")
            cosine.step(epoch)
        """,
        """
        import tensorflow as tf
        import torch

        keep = tf.keras.callbacks.ModelCheckpoint("best.h5", monitor="val_accuracy", save_best_only=True)
        """,
        """
        class Net(L.LightningModule):
            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
                scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max")
                return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": "val_acc"}
        """,
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max")
        for epoch in range(30):
            loss, val_acc = evaluate(model)
            scheduler.step(val_acc)
        """,
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        for epoch in range(30):
            loss, accuracy = evaluate(model)
            scheduler.step(-accuracy if by_accuracy else loss)
            plateau.step(accuracy)
        """,
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode)
        scheduler.step(accuracy)
        """,
        """
        from transformers import TrainingArguments

        args = TrainingArguments("out", metric_for_best_model="eval_loss", greater_is_better=False)
        other = TrainingArguments("out", metric_for_best_model="wer", greater_is_better=False)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for call in script.calls:
            if call.method in CALLBACKS:
                yield from self._callback(call)
            elif call.method in ARGUMENTS:
                yield from self._arguments(call)
        yield from self._plateaus(script)
        yield from (found for function in script.functions for found in self._configured(function))

    def _callback(self, call: Value) -> Iterator[Diagnostic]:
        given = call.argument(0 if call.method == "EarlyStopping" else None, "monitor")
        name = given.constant if given is not None else None
        mode = _mode(call, None, CALLBACKS[call.method])
        keras = re.match(r"(tensorflow|tf|keras)\.", call.name)  # whose default is to tell by the name
        if isinstance(name, str) and mode and direction(name) == -mode and not keras:
            yield self.at(call, f"keeps the {_worst(mode)} `{name}` for the best one")

    def _arguments(self, call: Value) -> Iterator[Diagnostic]:
        given, better = call.argument(None, "metric_for_best_model"), call.argument(None, "greater_is_better")
        name = given.constant if given is not None else None
        if isinstance(name, str) and not call.unpacks and (better is None or isinstance(better.constant, bool)):
            greater = not name.endswith("loss") if better is None else bool(better.constant)
            mode = 1 if greater else -1
            if direction(name) == -mode:
                yield self.at(call, f"keeps the {_worst(mode)} `{name}` for the best one")

    def _configured(self, function: Function) -> Iterator[Diagnostic]:
        """The schedulers that `configure_optimizers()` returns together with the name that they monitor."""
        values = [event.value for event in function.events if event.value is not None]
        made = {event.name: event.value for event in function.events if event.kind == "assign"}
        for part in (part for value in values for part in value.within() if part.kind == "dict"):
            given = dict(part.keywords)
            scheduler, monitor = given.get("scheduler", given.get("lr_scheduler")), given.get("monitor")
            call = made.get(scheduler.name) if scheduler is not None and scheduler.kind == "name" else scheduler
            if (
                call is not None
                and call.method == PLATEAU
                and monitor is not None
                and isinstance(monitor.constant, str)
            ):
                mode = _mode(call, 1, "min")
                if mode and direction(monitor.constant) == -mode:
                    yield self.at(call, f"lowers the learning rate when `{monitor.constant}` gets better")

    def _plateaus(self, script: Script) -> Iterator[Diagnostic]:
        """The names that a scheduler is bound to, always with one mode, and the calls of its `step()`."""
        events = [event for function in script.functions for event in function.events]
        modes: dict[str, set[int]] = {}
        makers = {f.name for f in script.functions if any(call.method == PLATEAU for call in f.calls)}
        for event in events:
            if event.kind == "assign" and event.value is not None and not _returned(event.value, makers):
                plateau = event.value.kind == "call" and event.value.method == PLATEAU
                modes.setdefault(event.name, set()).add(_mode(event.value, 1, "min") if plateau else 0)
        for loop in script.training_loops:  # those that a helper makes
            for act in (*loop.acts, *loop.outer):
                made = {_mode(found.call, 1, "min") if found.name == PLATEAU else 0 for found in act.schedules}
                modes.setdefault(str(act.call.receiver), made or {0})
        for function in script.functions:
            for call in function.calls:
                mode = (
                    modes.get(str(call.receiver), {0}) if call.method == "step" and call.receiver is not None else {0}
                )
                if mode in ({1}, {-1}):
                    yield from self._stepped(function, call, next(iter(mode)))

    def _stepped(self, function: Function, call: Value, mode: int) -> Iterator[Diagnostic]:
        given = call.argument(0, "metrics")
        if given is not None and given.kind == "name" and COUNTER.fullmatch(given.name):
            own = str(call.receiver) not in {parameter.name for parameter in function.parameters}
            message = f"is given `{given}`, which only counts, where `{PLATEAU}` takes what is measured"
            yield self.at(call, message, certain=own and given.name == "epoch")
        inner = negated(given)
        measured = given if inner is None else inner
        better = (direction(called(measured)) or _kept(function, measured)) if measured is not None else 0
        if measured is not None and better == (-mode if inner is None else mode):
            yield self.at(call, f"lowers the learning rate when `{called(measured)}` gets better")


def _kept(function: Function, measured: Value) -> int:
    """1 where the function keeps the largest of a value for the best, -1 the smallest; 0 where it tells nothing."""
    for index, block in enumerate(function.blocks):
        test = block.value if block.kind == "if" else None
        for best, value, sign in _sides(test) if test is not None else ():
            kept = (e for _, e in function.inside(index) if e.kind == "assign" and e.name == best.name)
            if "best" in best.name and str(value) == str(measured) and any(str(e.value) == str(value) for e in kept):
                return sign
    return 0


def _sides(test: Value) -> Iterator[tuple[Value, Value, int]]:
    """Both readings of a comparison: what may be the best value, what is compared with it, and 1 where more is better."""
    if test.name in ("<", "<=", ">", ">=") and len(test.arguments) == 2:
        left, right = test.arguments
        more = 1 if test.name in (">", ">=") else -1
        yield from ((right, left, more), (left, right, -more))


def _returned(value: Value, makers: set[str]) -> bool:
    """Whether a function of the file gives it back, which may have made the scheduler."""
    call = value.base if value.kind == "item" else value
    return call is not None and call.kind == "call" and call.name in makers


def _mode(call: Value, position: int | None, default: str) -> int:
    given = call.argument(position, "mode")
    mode = default if given is None and not call.unpacks else given.constant if given is not None else None
    return {"min": -1, "max": 1}.get(str(mode), 0)


def _worst(mode: int) -> str:
    return "highest" if mode > 0 else "lowest"
