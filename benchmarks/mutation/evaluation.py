"""Faults of modes, evaluation and loaders."""

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
    trains,
)
from .text import Found, Source, fault


@fault("train() deleted", "train-eval-mode")
def no_train(source: Source) -> Found:
    evaluated = {receiver(call_of(e)) for e in acts(source, "eval")}
    for mode in acts(source, "train"):
        name, scope = receiver(call_of(mode)), source.scope(mode)
        every = [m for m in acts(source, "train") if receiver(call_of(m)) == name]
        if name in evaluated and name != "self" and trains(source, scope):
            yield mode, [edit for m in every for edit in source.remove(m)]


@fault("train() only before the loop over epochs", "train-eval-mode")
def early_train(source: Source) -> Found:
    evaluated = {receiver(call_of(e)) for e in acts(source, "eval")}
    for mode in acts(source, "train"):
        loops = source.loops(mode)
        target = loops[0].target if len(loops) == 1 and isinstance(loops[0], ast.For) else None
        if target is not None and "epoch" in ast.unparse(target) and receiver(call_of(mode)) in evaluated:
            within = source.text(loops[0])
            if f"{receiver(call_of(mode))}.eval(" in within and within.count(".train(") == 1:
                yield mode, source.move(mode, loops[0])


@fault("trained in evaluation mode", "train-eval-mode")
def trained_in_eval(source: Source) -> Found:
    for mode in acts(source, "train"):
        call = call_of(mode)
        alone = source.within(source.scope(mode)).count(".train(") == 1
        if alone and not call.args and trains(source, source.scope(mode)) and isinstance(call.func, ast.Attribute):
            yield mode, [source.rename(call.func, "eval")]


@fault("eval() deleted", "train-eval-mode")
def no_eval(source: Source) -> Found:
    for mode in acts(source, "eval"):
        scope = source.scope(mode)
        if (
            receiver(call_of(mode)) != "self"
            and "no_grad" in source.within(scope)
            and not isinstance(scope, ast.Module)
        ):
            every = [m for m in acts(source, "eval") if source.scope(m) is scope]
            if re.search(r"val|test|eval", scope.name) and not trains(source, scope):
                yield mode, [edit for m in every for edit in source.remove(m)]


@fault("no_grad around the evaluation dropped", "eval-without-no-grad")
def recorded(source: Source) -> Found:
    for node in source.nodes:
        if (
            isinstance(node, ast.With)
            and len(node.items) == 1
            and re.search("no_grad|inference_mode", ast.unparse(node.items[0]))
        ):
            loops = any(isinstance(n, ast.For) for n in ast.walk(node)) or source.loops(node)
            scope = source.scope(node)
            if loops and not trains(source, scope) and re.search(r"val|test|eval", getattr(scope, "name", "")):
                yield node, source.unwrap(node)
        if isinstance(node, ast.FunctionDef) and re.search("val|test", node.name) and not trains(source, node):
            for mark in node.decorator_list:
                if re.search("no_grad|inference_mode", ast.unparse(mark)) and any(
                    isinstance(n, ast.For) for n in ast.walk(node)
                ):
                    yield mark, [source.unmark(mark)]


@fault("evaluation on the training loader", "evaluation-on-training-data test-data-in-training one-part-used-twice")
def trained_on(source: Source) -> Found:
    loaders = sorted(
        {
            ast.unparse(t)
            for n in source.nodes
            if isinstance(n, ast.Assign) and re.search(r"\bDataLoader\(", ast.unparse(n.value))
            for t in n.targets
        }
    )
    training = [n for n in loaders if TRAINING.search(n) and not HELD_OUT.search(n)]
    held = [n for n in loaders if HELD_OUT.search(n) and not TRAINING.search(n)]
    if len(training) == 1:
        for node in source.nodes:
            if isinstance(node, ast.Call) and re.search(r"val|test|eval", last(node.func)):
                for arg in node.args:
                    if ast.unparse(arg) in held:
                        yield node, [source.replace(arg, training[0])]


@fault(
    "held-out loader made of the training set", "evaluation-on-training-data test-data-in-training one-part-used-twice"
)
def one_set(source: Source) -> Found:
    made = [
        n for n in source.nodes if isinstance(n, ast.Assign) and re.match(r"(\w+\.)*DataLoader\(", ast.unparse(n.value))
    ]
    found = [(n, n.value.args[0]) for n in made if isinstance(n.value, ast.Call) and n.value.args]
    training = [
        a for n, a in found if TRAINING.search(ast.unparse(n.targets[0])) and isinstance(a, ast.Name | ast.Attribute)
    ]
    for node, data in found:
        if (
            HELD_OUT.search(ast.unparse(node.targets[0]))
            and len(training) == 1
            and ast.unparse(data) != ast.unparse(training[0])
        ):
            yield node, [source.replace(data, ast.unparse(training[0]))]


@fault("shuffle of the training loader off", "unshuffled-training-data")
def unshuffled(source: Source) -> Found:
    for call in calls(source, "DataLoader"):
        for word in call.keywords:
            at = source.statement(call)
            named = (
                ast.unparse(at.targets[0]) if isinstance(at, ast.Assign) else getattr(source.scope(call), "name", "")
            )
            if word.arg == "shuffle" and ast.unparse(word.value) == "True" and TRAINING.search(named):
                yield call, [source.replace(word.value, "False")]


@fault("set_epoch deleted", "sampler-set-epoch")
def no_epoch(source: Source) -> Found:
    every = list(acts(source, "set_epoch"))
    if every:
        yield every[0], [edit for one in every for edit in source.remove(one)]
