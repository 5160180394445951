"""Faults of models: layers that are not trained, not registered or not told what they need."""

from __future__ import annotations

import ast
import re

from .ask import (
    acts,
    call_of,
    calls,
    last,
    trains,
)
from .text import Found, Source, fault


@fault("fresh layer put into the model after the optimizer", "optimizer-parameters")
def late_layer(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Assign) and re.search(r"\b(SGD|Adam|AdamW)\(", ast.unparse(node.value)):
            block = source.siblings(node)
            for other in block[: block.index(node)] if node in block else ():
                target = other.targets[0] if isinstance(other, ast.Assign) else None
                fresh = isinstance(target, ast.Attribute) and re.search(
                    r"nn\.(Linear|Sequential|Conv)", source.text(other)
                )
                model = ast.unparse(target.value) if fresh and isinstance(target, ast.Attribute) else "self"
                if model != "self" and f"{model}.parameters()" in ast.unparse(node):
                    yield node, source.move(other, node, after=True)


@fault("new head frozen", "frozen-fresh-parameters optimizer-parameters")
def frozen_head(source: Source) -> Found:
    for node in source.nodes:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Attribute) and target.attr in ("fc", "classifier", "head", "_fc"):
            assert isinstance(node, ast.Assign)
            if re.match(r"(torch\.)?nn\.(Linear|Sequential)\(", ast.unparse(node.value)):
                text = f"for p in {ast.unparse(target)}.parameters():\n    p.requires_grad = False"
                yield node, [source.line(node, text, after=True)]


@fault("layers in a plain list", "unregistered-modules")
def plain(source: Source) -> Found:
    for call in calls(source, "ModuleList"):
        at = source.statement(call)
        if isinstance(at, ast.Assign) and ast.unparse(at.targets[0]).startswith("self.") and at.value is call:
            yield call, [source.replace(call, source.text(call.args[0]) if call.args else "[]")]


@fault("parameter that is a plain tensor", "unregistered-parameters")
def plain_tensor(source: Source) -> Found:
    for call in calls(source, "Parameter"):
        at = source.statement(call)
        own = isinstance(at, ast.Assign) and at.value is call and ast.unparse(at.targets[0]).startswith("self.")
        if own and len(call.args) == 1 and not call.keywords:
            yield call, [source.replace(call, f"({source.text(call.args[0])}).requires_grad_()")]


@fault("parameter that is moved away", "unregistered-parameters")
def moved_parameter(source: Source) -> Found:
    for call in calls(source, "Parameter"):
        at = source.statement(call)
        if isinstance(at, ast.Assign) and at.value is call and ast.unparse(at.targets[0]).startswith("self."):
            yield call, [source.replace(call, f"{source.text(call)}.cuda()")]


@fault("functional dropout always on", "functional-dropout-mode")
def stray(source: Source) -> Found:
    for call in calls(source, "dropout"):
        words = [k for k in call.keywords if k.arg == "training"]
        if words:
            kept = [source.text(a) for a in call.args] + [
                f"{k.arg}={source.text(k.value)}" for k in call.keywords if k.arg != "training"
            ]
            yield call, [source.replace(call, f"{source.text(call.func)}({', '.join(kept)})")]


@fault("batch_first dropped", "batch-first")
def time_first(source: Source) -> Found:
    for call in calls(source, "LSTM", "GRU", "RNN"):
        kept = [source.text(a) for a in call.args]
        kept += [f"{k.arg}={source.text(k.value)}" for k in call.keywords if k.arg and k.arg != "batch_first"]
        if any(k.arg == "batch_first" and ast.unparse(k.value) == "True" for k in call.keywords):
            yield call, [source.replace(call, f"{source.text(call.func)}({', '.join(kept)})")]


@fault("model of DDP called past its wrapper", "ddp-bypassed")
def past_wrapper(source: Source) -> Found:
    wrapped = {
        ast.unparse(n.targets[0])
        for n in source.nodes
        if isinstance(n, ast.Assign) and re.search(r"\b(DistributedDataParallel|DDP)\(", ast.unparse(n.value))
    }
    for node in source.nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in wrapped and trains(source, source.scope(node)):
            yield node, [source.replace(node.func, source.text(node.func) + ".module")]


@fault("training_step returns nothing", "lightning-training-step")
def no_loss(source: Source) -> Found:
    for node in source.nodes:
        end = node.body[-1] if isinstance(node, ast.FunctionDef) and node.name == "training_step" else None
        if isinstance(end, ast.Return) and end.value is not None and len(source.siblings(end)) > 1:
            yield end, source.remove(end)


@fault("no nonlinearity between two layers", "linear-without-nonlinearity")
def linear(source: Source) -> Found:
    for call in calls(source, "Sequential"):
        names = [last(a.func) if isinstance(a, ast.Call) else "" for a in call.args]
        for at in range(1, len(names) - 1):
            if names[at - 1 : at + 2] == ["Linear", "ReLU", "Linear"]:
                yield call, [source.replace(call.args[at], "nn.Identity()")]


@fault("future tokens seen", "future-not-masked missing-causal-mask")
def future(source: Source) -> Found:
    for call in calls(source, "scaled_dot_product_attention"):
        for word in call.keywords:
            if word.arg == "is_causal" and ast.unparse(word.value) == "True":
                yield call, [source.replace(word.value, "False")]
    for node in source.nodes:
        if (
            isinstance(node, ast.Assign)
            and "masked_fill" in ast.unparse(node.value)
            and re.search("bias|tril|causal", ast.unparse(node.value))
        ):
            yield node, source.remove(node)


@fault("targets of a language model not shifted", "unshifted-targets")
def unshifted(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp | ast.Call | ast.Subscript):
            text = source.text(node.value)
            if re.search(r"\bi ?\+ ?1 ?: ?i ?\+ ?(1 ?\+ ?)?\w+( ?\+ ?1)?\]", text):
                shorter = re.sub(r"i ?\+ ?1 ?: ?i ?\+ ?1 ?\+ ?(\w+)\]", r"i : i + \1]", text)
                if shorter != text:
                    yield node, [source.replace(node.value, shorter)]


@fault("weights all set to one number", "constant-initialisation")
def constant(source: Source) -> Found:
    for start in acts(source, *(f"{k}_{d}_" for k in ("xavier", "kaiming") for d in ("uniform", "normal"))):
        call = call_of(start)
        if call.args and ast.unparse(call.args[0]).endswith("weight"):
            yield start, [source.replace(start, f"nn.init.constant_({source.text(call.args[0])}, 0.0)")]
