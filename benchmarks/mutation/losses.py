"""Faults of the conventions of losses: what they take, in which order, over which axis."""

from __future__ import annotations

import ast
import re

from .ask import (
    calls,
    last,
    loss_calls,
    losses,
    receiver,
)
from .text import Edit, Found, Source, fault


@fault("softmax before cross entropy", "softmax-into-cross-entropy")
def softmax(source: Source) -> Found:
    for number, call in enumerate(loss_calls(source, "ce")):
        scores = source.text(call.args[0])
        forms = (f"torch.softmax({scores}, dim=1)", f"({scores}).softmax(-1)", f"F.softmax({scores}, dim=-1)")
        yield call, [source.replace(call.args[0], forms[number % 3])]


@fault("softmax at the end of the model", "softmax-into-cross-entropy softmax-before-loss")
def softmax_in_model(source: Source) -> Found:
    if "ce" in {**source.project_losses, **losses(source)}.values():
        for returned in heads(source):
            assert returned.value is not None
            yield returned, [source.replace(returned.value, f"torch.softmax({source.text(returned.value)}, dim=1)")]


def heads(source: Source) -> list[ast.Return]:
    """The `return self.fc(x)` of models whose last layer gives classes."""
    classes = r"self\.(\w+) ?= ?nn\.Linear\([^\n]*(class|n_out|10\))"
    names = {match[1] for match in re.finditer(classes, source.data.decode(errors="replace"))}
    found = []
    for forward in source.nodes:
        if (
            isinstance(forward, ast.FunctionDef)
            and forward.name == "forward"
            and isinstance(forward.body[-1], ast.Return)
        ):
            value = forward.body[-1].value
            before = forward.body[-2] if len(forward.body) > 1 else None
            if isinstance(value, ast.Name) and isinstance(before, ast.Assign):
                value = before.value
            if isinstance(value, ast.Call) and last(value.func) in names and forward.body[-1].value:
                found.append(forward.body[-1])
    return found


@fault("sigmoid before BCE with logits", "sigmoid-loss-mismatch")
def sigmoid(source: Source) -> Found:
    for number, call in enumerate(loss_calls(source, "bce-logits")):
        scores = source.text(call.args[0])
        yield call, [source.replace(call.args[0], (f"torch.sigmoid({scores})", f"({scores}).sigmoid()")[number % 2])]


@fault("raw scores into BCE", "sigmoid-loss-mismatch")
def raw(source: Source) -> Found:
    kinds = set({**source.project_losses, **losses(source)}.values())
    for call in calls(source, "sigmoid") if kinds & {"bce"} and "bce-logits" not in kinds else ():
        functional = call.args and receiver(call) in ("torch", "F", "nn.functional", "")
        returned = isinstance(source.statement(call), ast.Return) and source.scope(call).name == "forward"
        if functional and returned:
            yield call, [source.replace(call, source.text(call.args[0]))]
    for call in calls(source, "Sigmoid") if kinds == {"bce"} else ():
        block = source.parents[call]
        if isinstance(block, ast.Call) and last(block.func) == "Sequential" and block.args[-1] is call:
            yield call, [source.replace(call, "nn.Identity()")]


@fault("raw scores into NLL", "nll-input-not-log-probabilities")
def raw_nll(source: Source) -> Found:
    kinds = set({**source.project_losses, **losses(source)}.values()) | {"nll" for _ in calls(source, "nll_loss")}
    for call in calls(source, "log_softmax") if "nll" in kinds else ():
        if isinstance(source.statement(call), ast.Return) and call.args:
            yield call, [source.replace(call, source.text(call.args[0]))]
            assert isinstance(call.func, ast.Attribute | ast.Name)
            yield call, [source.replace(call.func, source.text(call.func).replace("log_softmax", "softmax"))]


@fault("NLL in place of cross entropy", "nll-input-not-log-probabilities")
def other_loss(source: Source) -> Found:
    kinds = {**source.project_losses, **losses(source)}.values()
    for call in calls(source, "CrossEntropyLoss", "cross_entropy") if "nll" not in kinds else ():
        smooth = any(k.arg == "label_smoothing" for k in call.keywords)
        if isinstance(call.func, ast.Attribute) and not smooth:
            name = "NLLLoss" if last(call.func) == "CrossEntropyLoss" else "nll_loss"
            yield call, [source.rename(call.func, name)]


@fault("BCE with and without logits mixed up", "sigmoid-loss-mismatch")
def other_binary_loss(source: Source) -> Found:
    turned = {
        "BCELoss": "BCEWithLogitsLoss",
        "BCEWithLogitsLoss": "BCELoss",
        "binary_cross_entropy": "binary_cross_entropy_with_logits",
        "binary_cross_entropy_with_logits": "binary_cross_entropy",
    }
    for call in calls(source, *turned):
        if isinstance(call.func, ast.Attribute) and not any(k.arg == "pos_weight" for k in call.keywords):
            yield call, [source.rename(call.func, turned[last(call.func)])]


@fault("arguments of cross entropy swapped", "swapped-loss-arguments")
def swapped(source: Source) -> Found:
    for call in loss_calls(source, "ce", "nll"):
        yield call, _swap(source, call)


@fault("arguments of BCE or KL swapped", "swapped-loss-arguments kl-div-input-not-log sigmoid-loss-mismatch")
def swapped_binary(source: Source) -> Found:
    for call in loss_calls(source, "bce", "bce-logits", "kl"):
        yield call, _swap(source, call)


def _swap(source: Source, call: ast.Call) -> list[Edit]:
    first, second = call.args[:2]
    return [source.replace(first, source.text(second)), source.replace(second, source.text(first))]


@fault("probabilities into KL", "kl-div-input-not-log")
def kl(source: Source) -> Found:
    for call in loss_calls(source, "kl"):
        inner = call.args[0]
        if isinstance(inner, ast.Call) and last(inner.func) == "log_softmax":
            yield call, [source.replace(inner.func, source.text(inner.func).replace("log_softmax", "softmax"))]


@fault("ignore_index dropped", "padding-in-loss")
def counted_padding(source: Source) -> Found:
    for call in calls(source, "CrossEntropyLoss", "NLLLoss", "cross_entropy"):
        for word in call.keywords:
            if word.arg == "ignore_index" and re.search("pad", ast.unparse(word.value), re.I):
                others = [source.text(a) for a in call.args]
                others += [f"{k.arg}={source.text(k.value)}" for k in call.keywords if k is not word and k.arg]
                yield call, [source.replace(call, f"{source.text(call.func)}({', '.join(others)})")]


@fault("softmax over the batch", "softmax-dimension softmax-wrong-axis")
def batch_softmax(source: Source) -> Found:
    for call in calls(source, "softmax", "log_softmax"):
        for dim in [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "dim")]:
            if ast.unparse(dim) == "1" and "att" not in source.within(source.scope(call)).lower():
                yield call, [source.replace(dim, "0")]


@fault("best class over the batch", "softmax-dimension argmax-dimension")
def batch_argmax(source: Source) -> Found:
    for call in calls(source, "argmax", "max"):
        scope = source.within(source.scope(call))
        dims = [*call.args[-1:], *(k.value for k in call.keywords if k.arg == "dim")]
        for dim in dims[:1]:
            if (
                ast.unparse(dim) == "1"
                and re.search(r"correct|acc", scope)
                and (last(call.func) == "argmax" or receiver(call) == "torch")
            ):
                yield call, [source.replace(dim, "0")]
