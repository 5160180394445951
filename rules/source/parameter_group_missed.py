"""ML148."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value

GROUPS = "param_groups"
NAMES = {
    "lr": r"(?:l|learning|l_?r)[_ -]?rate|lr_rate|LR",
    "weight_decay": r"weight[ -]?decay|wd",
    "momentum": "momentums",
}
KEY = pattern(r".*\[(.+)\]")


class ParameterGroupMissed(SourceRule):
    """A learning rate is written to a place where the optimizer never looks.

    Why: an optimizer of torch reads `param_groups[i]["lr"]` at each step. A group takes any other key without a word, the object
        any attribute, and the groups of `state_dict()` are copies: the schedule is written and the rate never changes.
    Fix: `for group in optimizer.param_groups: group["lr"] = rate`.
    Ignore: when an optimizer of your own reads it.
    Reported: https://github.com/pytorch/examples/issues/64
    """

    code, severity, certain, topic = "ML148", Severity.ERROR, True, "gradients"
    explains = ("learning-rate-trajectory",)
    words = (
        (GROUPS, pattern(rb"\[[\"'](?:[\w -]*rate|LR|wd|weight.?decay|momentums)[\"']\] *=")),
        (GROUPS, "state_dict()["),
        ("torch.optim", pattern(rb"\.(?:lr|learning_rate) *[-*/+]?= *[^=]")),
    )
    bad = (
        """
        def adjust(optimizer, epoch):
            rate = 0.1 * 0.5 ** (epoch // 30)
            for group in optimizer.param_groups:
                group["learning_rate"] = rate
        """,
        """
        for epoch in range(90):
            for i, group in enumerate(optimizer.state_dict()["param_groups"]):
                group["lr"] = 0.1 * 0.5 ** (epoch // 30)
            train(model, optimizer)
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(90):
            optimizer.lr = 0.1 * 0.5 ** (epoch // 30)
            train(model, optimizer)
        """,
        "optimizer.param_groups[0]['learning_rate'] = 0.01",
    )
    good = (
        """
        optimizer = torch.optim.SGD([{"params": body, "lr": 0.1, "name": "body"}, {"params": head}], lr=0.01)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
            group["initial_lr"] = rate
            group["rate"] = rate
        """,
        """
        class Own(torch.optim.Optimizer):
            def __init__(self, params, learning_rate):
                super().__init__(params, dict(learning_rate=learning_rate))

            @torch.no_grad()
            def step(self):
                for group in self.param_groups:
                    for p in group["params"]:
                        p -= group["learning_rate"] * p.grad

        def adjust(optimizer, rate):
            for group in optimizer.param_groups:
                group["learning_rate"] = rate
        """,
        """
        for group in optimizer.param_groups:
            group["learning_rate"] = rate  # for the log
            group["lr"] = rate
        """,
        """
        import torch.optim

        state = optimizer.state_dict()
        for group in state["param_groups"]:
            group["lr"] = rate
        optimizer.load_state_dict(state)
        settings = Settings()
        settings.lr = 0.1
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        optim = "optim" in script.attributes or any("torch.optim" in full for full in script.imports.values())
        if not optim and GROUPS not in script.attributes:
            return
        made = {e.name for f in script.functions for e in f.events if e.kind == "assign" and _is_torchs(e.value)}
        for function in script.functions:
            for event in (e for e in function.events if e.kind in ("assign", "augment")):
                if (written := _misnamed(function, event)) and not _known(script, written[0]):
                    yield self.at(
                        event, f"writes `{written[0]}` to a parameter group, and the optimizer reads `{written[1]}`"
                    )
                elif _of_copy(function, event):
                    yield self.at(event, "writes to a copy of the parameter groups, which `state_dict()` made")
                elif event.name.rpartition(".")[2] in ("lr", "learning_rate") and event.name.rpartition(".")[0] in made:
                    yield self.at(event, f"sets `{event.name}`, an attribute that no optimizer of torch reads")


def _is_torchs(value: Value | None) -> bool:
    return (
        value is not None and value.kind == "call" and re.fullmatch(r"torch\.optim\.[A-Z]\w+", value.name) is not None
    )


def _misnamed(function: Function, event: Event) -> tuple[str, str] | None:
    """A key that is written to a group, and the one that is meant."""
    found = KEY.fullmatch(event.name)
    key = found[1] if found is not None else ""
    meant = next((name for name, wrong in NAMES.items() if re.fullmatch(wrong, key)), None)
    if meant is None or not _is_group(function, event.name[: -len(key) - 2]):
        return None
    others = {e.name for e in function.events if e.kind in ("assign", "augment")}
    return (key, meant) if f"{event.name[: -len(key) - 2]}[{meant}]" not in others else None


def _is_group(function: Function, name: str) -> bool:
    if name.partition("[")[0].endswith(f".{GROUPS}"):
        return True
    return any(over.kind == "name" and over.method == GROUPS for over in _loops(function, name))


def _of_copy(function: Function, event: Event) -> bool:
    """Whether an item of a group of `state_dict()` is set, which nothing else holds."""
    if not event.name.endswith("[lr]"):
        return False
    copies = (v for v in _loops(function, event.name.removesuffix("[lr]")) if v.kind == "item" and v.base is not None)
    return any(
        v.base is not None and v.base.method == "state_dict" and v.arguments[0].constant == GROUPS for v in copies
    )


def _loops(function: Function, name: str) -> Iterator[Value]:
    """What the loops go over whose variable a name is, alone or beside a number."""
    for event in function.events:
        value = event.value if event.kind == "assign" and event.name == name else None
        if value is not None and value.kind == "item" and value.base is not None:
            value = value.base
        over = value.base if value is not None and value.kind == "element" else None
        if over is not None:
            yield over.arguments[0] if over.name == "enumerate" and over.arguments else over


def _known(script: Script, key: str) -> bool:
    """Whether the file gives an optimizer such a key, or reads it."""
    values = [e.value for f in script.functions for e in f.events if e.value is not None and e.kind != "call"]
    parts = [part for value in values for part in value.within()] + list(script.calls)
    named = any(
        name == key for part in parts for name, _ in part.keywords if part.method in ("dict", "") or part.kind == "dict"
    )
    return named or any(p.kind == "item" and p.arguments[0].constant == key for p in parts)
