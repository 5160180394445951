"""Faults of schedulers, optimizers and rates."""

from __future__ import annotations

import ast
import re

from .ask import (
    beside,
    call_of,
    calls,
    last,
    optimizers,
    receiver,
    schedules,
    steps,
)
from .text import Found, Source, fault


@fault("scheduler stepped before the optimizer", "scheduler-order")
def early_schedule(source: Source) -> Found:
    for schedule in schedules(source):
        used = [s for s in beside(source, schedule, steps(source)) if s.lineno < schedule.lineno]
        if used:
            yield schedule, source.move(schedule, used[-1])
        loops = [s for s in source.siblings(schedule) if isinstance(s, ast.For) and s.lineno < schedule.lineno]
        if not used and loops and any(s in ast.walk(loops[0]) for s in steps(source)):
            yield schedule, source.move(schedule, loops[0])


@fault("scheduler of epochs stepped with each batch", "scheduler-order")
def fast_schedule(source: Source) -> Found:
    for schedule in schedules(source):
        loops = [s for s in source.siblings(schedule) if isinstance(s, ast.For) and s.lineno < schedule.lineno]
        inner = [loop for loop in loops if any(s in ast.walk(loop) for s in steps(source))]
        if inner and not call_of(schedule).args:
            yield schedule, source.move(schedule, inner[-1].body[-1], after=True)


@fault("scheduler of batches stepped with each epoch", "scheduler-order")
def slow_schedule(source: Source) -> Found:
    per_batch = r"OneCycleLR|get_\w+_schedule\w*|T_max=\w*(step|iter)|T_max=.*len\("
    for schedule in schedules(source):
        if beside(source, schedule, steps(source)) and re.search(per_batch, source.data.decode(errors="replace")):
            loops = source.loops(schedule)
            if len(loops) == 2 and source.parents[schedule] is loops[0]:
                yield schedule, source.move(schedule, loops[0], after=True)


@fault("scheduler never stepped", "scheduler-never-stepped schedule-of-another-optimizer")
def no_schedule(source: Source) -> Found:
    found = list(schedules(source))
    names = {receiver(call_of(s)) for s in found}
    made = [n for n in source.nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) in names]
    if found and made:
        yield found[0], [edit for s in found for edit in source.remove(s)]


@fault("optimizer made in the loop over epochs", "optimizer-remade")
def remade(source: Source) -> Found:
    for made in optimizers(source):
        block = source.siblings(made)
        later = block[block.index(made) + 1 :] if made in block else []
        loops = [s for s in later if isinstance(s, ast.For) and "epoch" in ast.unparse(s.target)]
        if loops and not any("load_state_dict" in source.text(s) for s in later if s.lineno < loops[0].lineno):
            yield made, source.move(made, loops[0].body[0])


@fault("optimizer of another model", "optimizer-parameters missing-optimizer-step")
def other_optimizer(source: Source) -> Found:
    found = [(m, c) for m in optimizers(source) for c in ast.walk(m.value) if isinstance(c, ast.Call)]
    given = [(m, c) for m, c in found if last(c.func) == "parameters" and receiver(c) != "self"]
    texts = sorted({ast.unparse(c) for _, c in given})
    if len(texts) == 2 and len(given) == 2:
        made, call = next((m, c) for m, c in given if ast.unparse(c) == texts[0])
        yield made, [source.replace(call, texts[1])]


@fault("learning rate a hundred times larger", "large-learning-rate")
def large_rate(source: Source) -> Found:
    for made in optimizers(source):
        for word in (k for c in ast.walk(made.value) if isinstance(c, ast.Call) for k in c.keywords):
            rate = word.value.value if isinstance(word.value, ast.Constant) else 0
            if word.arg == "lr" and isinstance(rate, float) and rate >= 1e-4:
                yield made, [source.replace(word.value, f"{rate * 100:g}")]


@fault("learning rate option a hundred times larger", "large-learning-rate")
def large_option(source: Source) -> Found:
    for option in calls(source, "add_argument"):
        named = [a.value for a in option.args if isinstance(a, ast.Constant)]
        for word in option.keywords:
            rate = word.value.value if isinstance(word.value, ast.Constant) else 0
            if (
                word.arg == "default"
                and isinstance(rate, float)
                and rate >= 1e-4
                and {"--lr", "--learning_rate"} & set(named)
            ):
                yield option, [source.replace(word.value, f"{rate * 100:g}")]


@fault("scheduler of another optimizer", "schedule-of-another-optimizer scheduler-never-stepped")
def other_schedule(source: Source) -> Found:
    names = sorted({ast.unparse(made.targets[0]) for made in optimizers(source)})
    for node in source.nodes:
        made = node.value if isinstance(node, ast.Assign) and len(names) == 2 else None
        if isinstance(made, ast.Call) and made.args and "lr_scheduler" in ast.unparse(made.func):
            given = ast.unparse(made.args[0])
            if given in names:
                yield made, [source.replace(made.args[0], next(n for n in names if n != given))]
