"""ML173."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value
from modellint.source.vocabulary import sounds_like_optimizer

EPOCH = pattern(r"\w*(epoch|step|iter|itr)\w*", re.IGNORECASE)


class ResumeWithoutOptimizer(SourceRule):
    """Training is resumed from a checkpoint that holds the state of the optimizer, and the state is not loaded.

    Why: Adam's averages and the momentum start again from zero while the weights and the epoch go on: the first steps after the
        resume are far too large, and the loss jumps.
    Fix: `optimizer.load_state_dict(checkpoint["optimizer"])` (and the scheduler's) where the model is restored.
    Ignore: when only the weights are meant to be taken over; then the epoch should start anew, too.
    Reported: https://github.com/NVlabs/stylegan2-ada-pytorch/issues/108, https://github.com/r9y9/wavenet_vocoder/issues/132
    """

    code, severity, certain, topic = "ML173", Severity.WARNING, True, "optimizer"
    calls = ("load_state_dict",)
    words = (("torch.load(", "load_state_dict(", "torch.save(", "epoch"),)
    bad = (
        """
        import torch

        start = 0
        if args.resume:
            checkpoint = torch.load(args.resume)
            model.load_state_dict(checkpoint["model"])
            start = checkpoint["epoch"] + 1
        for epoch in range(start, 100):
            train(model, optimizer)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, "last.pt")
        """,
    )
    good = (
        """
        import torch

        start = 0
        if args.resume:
            checkpoint = torch.load(args.resume)
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            start = checkpoint["epoch"] + 1
        for epoch in range(start, 100):
            train(model, optimizer)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch

        def evaluate(path):
            checkpoint = torch.load(path)
            model.load_state_dict(checkpoint["model"])
            print("trained for", checkpoint["epoch"], score(model))

        for epoch in range(100):
            train(model, optimizer)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch

        checkpoint = torch.load(args.resume)
        for name, part in {"model": model, "optimizer": optimizer}.items():
            part.load_state_dict(checkpoint[name])
        for epoch in range(checkpoint["epoch"], 100):
            train(model, optimizer)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        calls = list(script.calls)
        keys = {key for call in calls if call.method == "save" for key in _keys(script, call)}
        loads = [call for call in calls if call.method == "load_state_dict" and call.receiver is not None]
        if not keys or any(_may_be_optimizer(call) for call in loads) or _are_read(script, keys):
            return
        for function in script.functions:
            for checkpoint in _loaded(function):
                restored = [c for c in function.calls if c in loads and any(_is_of(p, checkpoint) for p in c.within())]
                if restored and _goes_on(script, function, checkpoint):
                    yield self.at(
                        restored[0], f"goes on from the epoch of `{checkpoint}`, without its `{sorted(keys)[0]}`"
                    )


def _keys(script: Script, save: Value) -> Iterator[str]:
    """The keys of a saved dict under which the state of an optimizer lies."""
    given = save.argument(0, "obj")
    dicts = [given] if given is not None and given.kind == "dict" else []
    if given is not None and given.kind == "name":
        events = (e for f in script.functions for e in f.events if e.kind == "assign" and e.name == given.name)
        dicts = [e.value for e in events if e.value is not None and e.value.kind == "dict"]
    for written in dicts:
        for key, value in written.keywords:
            if (
                value.method == "state_dict"
                and value.receiver is not None
                and sounds_like_optimizer(str(value.receiver))
            ):
                yield key


def _may_be_optimizer(load: Value) -> bool:
    """Whether it restores an optimizer, or something that cannot be told by its name."""
    name = str(load.receiver)
    return sounds_like_optimizer(name) or not re.search(
        r"model|net|encoder|decoder|module|backbone|head", name, re.IGNORECASE
    )


def _are_read(script: Script, keys: set[str]) -> bool:
    """Whether anything reads one of the keys, or goes through a checkpoint by keys that cannot be read."""
    parts = (part for f in script.functions for e in f.events if e.value is not None for part in e.value.within())
    for part in parts:
        index = part.arguments[0] if part.kind == "item" or (part.method in ("get", "pop") and part.arguments) else None
        if index is not None and index.constant in keys:
            return True
    return False


def _loaded(function: Function) -> Iterator[str]:
    """The names that checkpoints are bound to."""
    for event in function.events:
        value = event.value
        if event.kind == "assign" and value is not None and value.kind == "call" and value.name == "torch.load":
            yield event.name


def _is_of(part: Value, checkpoint: str) -> bool:
    return part.kind == "item" and part.base is not None and part.base.name == checkpoint


def _goes_on(script: Script, function: Function, checkpoint: str) -> bool:
    """Whether a loop of the file counts on from a number that the checkpoint holds."""
    starts = {
        e.name for e in function.events if e.kind == "assign" and e.value is not None and _counts(e.value, checkpoint)
    }
    for other in script.functions:
        for block in other.blocks:
            over = block.value if block.kind == "for" else None
            first = next(
                (v for v in (over.within() if over is not None else ()) if v.name in ("range", "trange")), None
            )
            begin = first.arguments[0] if first is not None and len(first.arguments) > 1 else None
            parts = list(begin.within()) if begin is not None else []
            seen = other is function or function.kind == "module"
            named = any(part.name in starts and (seen or part.name.startswith("self.")) for part in parts)
            if named or any(_counts(part, checkpoint) for part in parts if other is function):
                return True
    return False


def _counts(value: Value, checkpoint: str) -> bool:
    parts = (part for part in value.within() if _is_of(part, checkpoint))
    return any(EPOCH.fullmatch(str(part.arguments[0].constant)) for part in parts)
