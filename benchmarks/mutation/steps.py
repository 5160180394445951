"""Faults in the life of a step: clearing, backward, clip, step, schedule."""

from __future__ import annotations

import ast
import re

from .ask import acts, backwards, beside, call_of, calls, last, optimizers, receiver, schedules, steps, trains
from .text import Found, Source, fault

CLIPS = ("clip_grad_norm_", "clip_grad_norm", "clip_grad_value_")
UPDATES = "frozen-weights"


@fault("zero_grad deleted", "missing-zero-grad lightning-manual-zero-grad")
def no_clear(source: Source) -> Found:
    seen = set()
    for clear in acts(source, "zero_grad"):
        scope = source.scope(clear)
        if scope in seen or not trains(source, scope) or not source.loops(clear):
            continue
        seen.add(scope)
        every = [other for other in acts(source, "zero_grad") if source.scope(other) is scope]
        yield clear, [edit for one in every for edit in source.remove(one)]


@fault("zero_grad of one optimizer deleted", "missing-zero-grad lightning-manual-zero-grad")
def one_uncleared(source: Source) -> Found:
    clears = list(acts(source, "zero_grad", of="opt"))
    names = {receiver(call_of(clear)) for clear in clears}
    for name in sorted(names) if len(names) > 1 else ():
        mine = [clear for clear in clears if receiver(call_of(clear)) == name]
        models = list(acts(source, "zero_grad", but="opt"))
        if not models and trains(source, source.scope(mine[0])):
            yield mine[0], [edit for clear in mine for edit in source.remove(clear)]


@fault("zero_grad between backward and step", "zero-grad-before-step")
def cleared_before_step(source: Source) -> Found:
    for clear in acts(source, "zero_grad", of="opt"):
        used = [s for s in beside(source, clear, steps(source)) if receiver(call_of(s)) == receiver(call_of(clear))]
        made = [b for b in beside(source, clear, backwards(source)) if b.lineno > clear.lineno]
        later = [s for s in used if made and s.lineno > made[0].lineno]
        if later:
            yield clear, source.move(clear, later[0])


@fault("zero_grad only before the loop over batches", "missing-zero-grad")
def cleared_outside(source: Source) -> Found:
    for clear in acts(source, "zero_grad", of="opt"):
        loops = source.loops(clear)
        others = [c for c in acts(source, "zero_grad") if source.scope(c) is source.scope(clear) and c is not clear]
        if loops and not others and beside(source, clear, backwards(source)):
            yield clear, source.move(clear, loops[0])


@fault("zero_grad moved behind the if of the accumulation", "accumulation-cleared")
def accumulation_cleared(source: Source) -> Found:
    for clear in acts(source, "zero_grad"):
        branch = source.parents[clear]
        if isinstance(branch, ast.If) and "%" in ast.unparse(branch.test) and beside(source, clear, steps(source)):
            yield clear, source.move(clear, branch, after=True)


@fault("step deleted", "missing-optimizer-step loop-left-in-first-pass " + UPDATES)
def no_step(source: Source) -> Found:
    for step in steps(source):
        every = [s for s in steps(source) if receiver(call_of(s)) == receiver(call_of(step))]
        if len(every) == 1 and beside(source, step, backwards(source)):
            yield step, source.remove(step)


@fault("step before backward", "zero-grad-before-step missing-optimizer-step backward-after-step step-before-backward")
def early_step(source: Source) -> Found:
    for step in steps(source):
        made = [b for b in beside(source, step, backwards(source)) if b.lineno < step.lineno]
        cleared = [c for c in beside(source, step, acts(source, "zero_grad")) if made and c.lineno < made[-1].lineno]
        if cleared and len(made) == 1 and "scaler" not in receiver(call_of(step)):
            yield step, source.move(step, made[-1])


@fault("another optimizer stepped", "missing-optimizer-step missing-zero-grad zero-grad-before-step")
def other_step(source: Source) -> Found:
    found = [s for s in steps(source) if not call_of(s).args and source.loops(s)]
    names = sorted({receiver(call_of(s)) for s in found})
    if len(names) == 2:
        wrong = [s for s in found if receiver(call_of(s)) == names[0]]
        if len(wrong) == 1:
            yield wrong[0], [source.replace(wrong[0], f"{names[1]}.step()")]


@fault("parentheses of step or zero_grad missing", "uncalled-method")
def uncalled(source: Source) -> Found:
    for step in [*steps(source), *acts(source, "zero_grad", of="opt")]:
        if not call_of(step).args:
            yield step, [source.replace(step, source.text(call_of(step).func))]


@fault("clip before backward", "clip-before-backward")
def early_clip(source: Source) -> Found:
    for clip in acts(source, *CLIPS):
        made = [b for b in beside(source, clip, backwards(source)) if b.lineno < clip.lineno]
        if made and "accum" not in source.within(source.scope(clip)):
            yield clip, source.move(clip, made[-1])


@fault("clip after step", "clip-after-step")
def late_clip(source: Source) -> Found:
    for clip in acts(source, *CLIPS):
        used = [s for s in beside(source, clip, steps(source)) if s.lineno > clip.lineno]
        if used:
            yield clip, source.move(clip, used[0], after=True)


@fault("clip of detached parameters", "clip-wrong-parameters")
def detached_clip(source: Source) -> Found:
    for clip in acts(source, *CLIPS):
        call = call_of(clip)
        if call.args and last(getattr(call.args[0], "func", call)) == "parameters":
            yield clip, [source.replace(call.args[0], f"[p.detach() for p in {source.text(call.args[0])}]")]


@fault("clip of another model", "clip-wrong-parameters")
def other_clip(source: Source) -> Found:
    named = {ast.unparse(c) for c in calls(source, "parameters") if not c.args}
    for clip in acts(source, *CLIPS):
        call = call_of(clip)
        first = ast.unparse(call.args[0]) if call.args else ""
        others = sorted(
            n for n in named - {first} if n.split(".")[-2] not in first and first.split(".")[-2:-1] != ["module"]
        )
        if first in named and others and "self" not in {n.rpartition(".")[0] for n in (first, others[0])}:
            yield clip, [source.replace(call.args[0], others[0])]


@fault("unscale_ deleted", "clip-scaled-gradients")
def scaled_clip(source: Source) -> Found:
    for unscale in acts(source, "unscale_"):
        if any(c for c in acts(source, *CLIPS) if source.scope(c) is source.scope(unscale)):
            yield unscale, source.remove(unscale)


@fault("optimizer stepped past the scaler", "scaler-bypassed")
def past_scaler(source: Source) -> Found:
    for step in acts(source, "step", of="scaler"):
        if len(call_of(step).args) == 1:
            yield step, [source.replace(step, f"{source.text(call_of(step).args[0])}.step()")]


@fault("accumulated loss not divided", "accumulation-scale")
def undivided(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Assign | ast.AugAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            by = node.value.right if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) else node.value
            op = (
                node.value.op
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp)
                else getattr(node, "op", 0)
            )
            if (
                isinstance(op, ast.Div)
                and "loss" in ast.unparse(target)
                and re.search("accum|grad_acc", ast.unparse(by))
            ):
                if isinstance(node, ast.AugAssign):
                    yield node, source.remove(node)
                elif isinstance(node.value, ast.BinOp) and trains(source, source.scope(node)):
                    yield node, [source.replace(node.value, source.text(node.value.left))]


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
