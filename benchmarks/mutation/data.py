"""Faults of data, checkpoints and what is measured."""

from __future__ import annotations

import ast
import re

from .ask import (
    HELD_OUT,
    TRAINING,
    acts,
    call_of,
    calls,
    last,
    receiver,
)
from .text import Found, Source, fault


@fault("weights of the best epoch not copied", "aliased-state-dict aliased-model")
def aliased(source: Source) -> Found:
    for call in calls(source, "deepcopy"):
        at = source.statement(call)
        if isinstance(at, ast.Assign) and "best" in ast.unparse(at.targets[0]) and at.value is call:
            yield at, [source.replace(call, source.text(call.args[0]))]


@fault("resumed without the optimizer", "resume-without-optimizer")
def resumed(source: Source) -> Found:
    every = [
        a for a in acts(source, "load_state_dict", of="opt") if "torch.load" in source.data.decode(errors="replace")
    ]
    if len({receiver(call_of(a)) for a in every}) == 1:
        yield every[0], [edit for one in every for edit in source.remove(one)]


@fault("accuracy divided by the number of batches", "accuracy-denominator")
def denominator(source: Source) -> Found:
    for node in source.nodes:
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Div)
            and re.search("correct|acc", ast.unparse(node.left))
        ):
            size = re.fullmatch(r"len\((.+)\.dataset\)", ast.unparse(node.right))
            if size:
                yield source.statement(node), [source.replace(node.right, f"len({size[1]})")]


@fault("best value compared the wrong way", "best-never-improves monitor-direction")
def never_best(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            left, right = ast.unparse(node.test.left), ast.unparse(node.test.comparators[0])
            turned = {"Gt": "<", "Lt": ">"}.get(type(node.test.ops[0]).__name__)
            if turned and ("best" in right) != ("best" in left) and re.search("acc|loss", left + right):
                yield node, [source.replace(node.test, f"{left} {turned} {right}")]


@fault("loop left in its first pass", "loop-left-in-first-pass")
def left(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Return) and node.value is not None:
            block = source.siblings(node)
            before = block[block.index(node) - 1] if block.index(node) else None
            if isinstance(before, ast.For) and ".backward(" in source.text(before):
                yield node, source.move(node, before.body[-1], after=True)


@fault("same batch in every step", "same-batch-every-step")
def same(source: Source) -> Found:
    for loop in source.nodes:
        over = source.text(loop.iter) if isinstance(loop, ast.For) else ""
        if isinstance(loop, ast.For) and re.fullmatch(r"\w*loader\w*", over) and ".backward(" in source.text(loop):
            first = source.line(loop.body[0], f"{source.text(loop.target).strip('()')} = next(iter({over}))")
            yield loop, [source.replace(loop.target, "step"), source.replace(loop.iter, f"range(len({over}))"), first]


@fault("images not normalised", "unscaled-inputs large-inputs")
def unscaled(source: Source) -> Found:
    for node in source.nodes:
        scaled = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        if scaled and ast.unparse(node.right) in ("255", "255.0") and "float" in source.text(source.statement(node)):
            yield source.statement(node), [source.replace(node, source.text(node.left))]


@fault("test images augmented", "augmented-evaluation")
def augmented(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Assign) and HELD_OUT.search(ast.unparse(node.targets[0])):
            for call in ast.walk(node.value):
                if isinstance(call, ast.Call) and last(call.func) == "CenterCrop":
                    yield (
                        node,
                        [source.replace(call.func, source.text(call.func).replace("CenterCrop", "RandomResizedCrop"))],
                    )


@fault("training set is the test set", "test-data-in-training")
def test_set(source: Source) -> Found:
    for node in source.nodes:
        if (
            isinstance(node, ast.Assign)
            and TRAINING.search(ast.unparse(node.targets[0]))
            and isinstance(node.value, ast.Call)
        ):
            for word in node.value.keywords:
                if word.arg == "train" and ast.unparse(word.value) == "True":
                    yield node, [source.replace(word.value, "False")]


@fault("checkpoint saved by every process", "saved-by-every-process")
def saved(source: Source) -> Found:
    for node in source.nodes:
        test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        main = re.search(r"rank\w*(\(\))? == 0|is_main_process|is_master", test)
        saves = main and any(isinstance(n, ast.Call) and ast.unparse(n.func) == "torch.save" for n in ast.walk(node))
        if isinstance(node, ast.If) and saves:
            yield node, [source.replace(node.test, "True")]
