"""Faults of the graph between the weights and the loss: cut, kept, turned around."""

from __future__ import annotations

import ast
import re

from .ask import (
    backwards,
    call_of,
    calls,
    last,
    loss_calls,
    receiver,
    steps,
    trains,
)
from .text import Found, Source, fault

CUT = "gradient-path-cut eval-without-no-grad"


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
