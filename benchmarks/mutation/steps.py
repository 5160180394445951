"""Faults in the life of a step: clearing, backward, clip, step."""

from __future__ import annotations

import ast
import re

from .ask import (
    acts,
    backwards,
    beside,
    call_of,
    calls,
    last,
    receiver,
    steps,
    trains,
)
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


@fault("update of the scaler deleted", "scaler-not-updated")
def no_update(source: Source) -> Found:
    every = list(acts(source, "update", of="scaler"))
    if every:
        yield every[0], [edit for one in every for edit in source.remove(one)]


@fault("backward deleted", "missing-backward " + UPDATES)
def no_backward(source: Source) -> Found:
    for back in backwards(source):
        every = [b for b in backwards(source) if source.scope(b) is source.scope(back)]
        if len(every) == 1 and beside(source, back, steps(source)):
            yield back, source.remove(back)


@fault("clip that binds no gradient", "clip-threshold")
def loose_clip(source: Source) -> Found:
    for clip in acts(source, *CLIPS):
        given = call_of(clip).args[1:2] + [k.value for k in call_of(clip).keywords if k.arg == "max_norm"]
        for bound in given[:1]:
            yield clip, [source.replace(bound, "10000.0")]


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
