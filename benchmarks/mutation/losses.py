"""Faults between the model and the gradient: conventions of losses, cut graphs, kept graphs, signs."""

from __future__ import annotations

import ast
import re

from .ask import acts, backwards, call_of, calls, last, loss_calls, losses, receiver, steps, trains
from .text import Edit, Found, Source, fault

CUT = "gradient-path-cut eval-without-no-grad"


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
            if isinstance(value, ast.Name) and isinstance(forward.body[-2], ast.Assign):
                value = forward.body[-2].value
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
        returned = isinstance(source.statement(call), ast.Return) and source.scope(call).name == "forward"  # type: ignore[union-attr]
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


@fault("losses summed with their graphs", "loss-keeps-graph")
def summed(source: Source) -> Found:
    for call in calls(source, "item"):
        at = source.statement(call)
        named = "loss" in receiver(call).lower()
        if named and isinstance(at, ast.AugAssign) and trains(source, source.scope(at)) and source.loops(at):
            yield at, [source.replace(call, receiver(call))]


@fault("losses kept in a list with their graphs", "loss-keeps-graph")
def listed(source: Source) -> Found:
    for call in calls(source, "item"):
        around, at = source.parents[call], source.statement(call)
        named = "loss" in receiver(call).lower()
        kept = isinstance(around, ast.Call) and last(around.func) == "append"
        if named and kept and source.loops(at) and trains(source, source.scope(at)):
            yield at, [source.replace(call, receiver(call))]


@fault("loss made anew of its number", "gradient-path-cut")
def remade(source: Source) -> Found:
    for back in backwards(source):
        name = receiver(call_of(back))
        if name.isidentifier() and steps_in(source, back):
            yield back, [source.line(back, f"{name} = torch.tensor({name}.item(), requires_grad=True)")]


def steps_in(source: Source, back: ast.stmt) -> bool:
    return any(source.scope(step) is source.scope(back) for step in steps(source))


@fault("a term of the loss cut off", "gradient-path-cut")
def cut_term(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Add):
            left, right = node.value.left, node.value.right
            named = all(isinstance(part, ast.Name) and "loss" in part.id.lower() for part in (left, right))
            if named and f"{ast.unparse(node.targets[0])}.backward" in source.within(source.scope(node)):
                yield node, [source.replace(right, f"{source.text(right)}.item()")]


@fault("output of the model cut off before the loss", CUT)
def cut_output(source: Source) -> Found:
    for number, call in enumerate(loss_calls(source, "ce", "mse", "bce", "bce-logits", "nll")):
        at = source.statement(call)
        if (
            isinstance(call.args[0], ast.Name)
            and steps_in(source, at)
            and isinstance(at, ast.Assign)
            and source.loops(at)
        ):
            form = (".detach().requires_grad_()", ".data", ".detach()")[number % 3]
            yield call, [source.replace(call.args[0], source.text(call.args[0]) + form)]


@fault("no_grad around the model in training", CUT)
def unrecorded(source: Source) -> Found:
    for back in backwards(source):
        for at in source.siblings(back):
            if (
                isinstance(at, ast.Assign)
                and at.lineno < back.lineno
                and at.lineno == at.end_lineno
                and steps_in(source, back)
            ):
                value = at.value
                if isinstance(value, ast.Call) and re.fullmatch(
                    r"(self\.)?(model|net|network)", ast.unparse(value.func)
                ):
                    yield at, [source.replace(at, f"with torch.no_grad():\n{' ' * at.col_offset}    {source.text(at)}")]
                    break


@fault("sign of the loss reversed", "loss-sign")
def reversed_sign(source: Source) -> Found:
    for back in backwards(source):
        call = call_of(back)
        if isinstance(call.func, ast.Attribute) and "loss" in receiver(call) and not call.args:
            yield back, [source.replace(call.func.value, f"(-{source.text(call.func.value)})")]


@fault("squeeze before a regression loss dropped", "functional-target-shape loss-shape-broadcast")
def unsqueezed(source: Source) -> Found:
    for call in loss_calls(source, "mse"):
        first = call.args[0]
        if (
            isinstance(first, ast.Call)
            and isinstance(first.func, ast.Attribute)
            and first.func.attr in ("squeeze", "flatten")
        ):
            yield call, [source.replace(first, source.text(first.func.value))]


@fault("hidden state keeps its graph", "hidden-state-not-detached")
def carried(source: Source) -> Found:
    named = r"hidden|state|^h$|^hx$|^cx$|memory|mems"
    for node in source.nodes:
        name = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
        if isinstance(node, ast.Assign) and re.search(named, name) and name in ast.unparse(node.value):
            cut = re.search(r"detach|repackage|\.data\b", ast.unparse(node.value))
            if cut and source.loops(node) and trains(source, source.scope(node)):
                yield node, source.remove(node)


@fault("target of a value keeps its graph", "bootstrap-not-detached")
def bootstrap(source: Source) -> Found:
    for call in calls(source, "detach"):
        at = source.statement(call)
        if (
            isinstance(at, ast.Assign)
            and re.search(r"gamma|discount", source.text(at))
            and not has_target_network(source)
        ):
            assert isinstance(call.func, ast.Attribute)
            yield at, [source.replace(call, source.text(call.func.value))]
    for block in source.nodes:
        if (
            (
                isinstance(block, ast.With)
                and "no_grad" in ast.unparse(block.items[0])
                and trains(source, source.scope(block))
            )
            and re.search(r"gamma|discount", source.text(block))
            and not has_target_network(source)
        ):
            yield block, source.unwrap(block)


def has_target_network(source: Source) -> bool:
    """Whether the target of a value may come from a network that no optimizer holds, where a graph does no harm."""
    return any(isinstance(n, ast.Call) and "targ" in ast.unparse(n.func) for n in source.nodes)


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


@fault("weights all set to one number", "constant-initialisation")
def constant(source: Source) -> Found:
    for start in acts(source, *(f"{k}_{d}_" for k in ("xavier", "kaiming") for d in ("uniform", "normal"))):
        call = call_of(start)
        if call.args and ast.unparse(call.args[0]).endswith("weight"):
            yield start, [source.replace(start, f"nn.init.constant_({source.text(call.args[0])}, 0.0)")]
