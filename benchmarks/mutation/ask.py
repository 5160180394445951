"""What a mutation asks of a syntax tree: which calls are there, what a name is likely to be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

from .text import Scope, Source

LOSSES = {
    "CrossEntropyLoss": "ce",
    "cross_entropy": "ce",
    "BCEWithLogitsLoss": "bce-logits",
    "binary_cross_entropy_with_logits": "bce-logits",
    "BCELoss": "bce",
    "binary_cross_entropy": "bce",
    "NLLLoss": "nll",
    "nll_loss": "nll",
    "MSELoss": "mse",
    "mse_loss": "mse",
    "SmoothL1Loss": "mse",
    "smooth_l1_loss": "mse",
    "KLDivLoss": "kl",
    "kl_div": "kl",
}
TRAINING = re.compile(r"train|tr_|^tr|trn", re.I)
HELD_OUT = re.compile(r"val|test|dev|eval", re.I)


def last(node: ast.AST) -> str:
    """`c` of `a.b.c`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def calls(source: Source, *names: str) -> Iterator[ast.Call]:
    table = _table(source)
    for name in names:
        yield from table.get(name, ())


@lru_cache(8)
def _table(source: Source) -> dict[str, list[ast.Call]]:
    table: dict[str, list[ast.Call]] = {}
    for node in source.nodes:
        if isinstance(node, ast.Call):
            table.setdefault(last(node.func), []).append(node)
    return table


def receiver(call: ast.Call) -> str:
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def acts(source: Source, *names: str, of: str = "", but: str = "^$") -> Iterator[ast.Expr]:
    """The statements that only call one of these methods, of a receiver whose name holds `of`."""
    for call in calls(source, *names):
        statement = source.parents.get(call)
        named = receiver(call).lower()
        if isinstance(statement, ast.Expr) and re.search(of, named) and not re.search(but, named):
            yield statement


def call_of(statement: ast.Expr) -> ast.Call:
    assert isinstance(statement.value, ast.Call)
    return statement.value


def steps(source: Source) -> Iterator[ast.Expr]:
    yield from acts(source, "step", of=r"opt|solver|adam|sgd|scaler", but="sched|lr_")


def backwards(source: Source) -> Iterator[ast.Expr]:
    yield from acts(source, "backward", "manual_backward")


def schedules(source: Source) -> Iterator[ast.Expr]:
    yield from acts(source, "step", of=r"sched|lr_")


@lru_cache(8)
def optimizers(source: Source) -> list[ast.Assign]:
    names = r"\b(Adam|AdamW|SGD|RMSprop|Adagrad|Adadelta|Adamax|RAdam|NAdam)\("
    return [n for n in source.nodes if isinstance(n, ast.Assign) and re.search(names, source.text(n.value))]


def trains(source: Source, scope: Scope) -> bool:
    return ".backward(" in source.within(scope)


def beside(source: Source, statement: ast.stmt, others: Iterator[ast.Expr]) -> list[ast.Expr]:
    """Those of the others that stand in the same block."""
    block = source.siblings(statement)
    return [other for other in others if other in block]


@lru_cache(8)
def losses(source: Source) -> dict[str, str]:
    """What each expression that a loss is bound to computes: `self.criterion` is "ce"."""
    found = {}
    for node in source.nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and "Loss" in source.text(node.value):
            made = [
                LOSSES[last(c.func)] for c in ast.walk(node.value) if isinstance(c, ast.Call) and last(c.func) in LOSSES
            ]
            if len(made) == 1 and last(node.targets[0]):
                found[ast.unparse(node.targets[0])] = made[0]
    return found


def loss_calls(source: Source, *kinds: str) -> Iterator[ast.Call]:
    """The calls of losses with prediction and target."""
    bound = {**source.project_losses, **losses(source)}
    for node in source.nodes:
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        if any(isinstance(arg, ast.Starred) for arg in node.args):
            continue
        name = ast.unparse(node.func)
        made = node.func if isinstance(node.func, ast.Call) else None
        functional = LOSSES.get(last(node.func)) if last(node.func).islower() else None
        kind = functional or (LOSSES.get(last(made.func)) if made else None) or bound.get(name)
        if kind in kinds:
            yield node
