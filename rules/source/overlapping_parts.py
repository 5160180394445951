"""ML183."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import parts
from modellint.source.branches import arms, contradict
from modellint.source.code import Function
from modellint.source.spans import Span, spans

NAMED = pattern(
    rb"(?:val(?:id|idation)?|test(?:ing)?|dev|eval)(?:_\w+|set|data)?(?:, *\w+)* *= *[^=\n]*(?:\[[^\[\]\n]*:[^\[\]\n]*\]|Subset\()"
)
TRAINED = pattern(rb"train\w*(?:, *\w+)* *= *[^=\n]*(?:\[[^\[\]\n]*:|Subset\()")
TRIES = pattern(r"debug|over_?fit|tiny|smoke|sanity|fast|dry_?run", re.IGNORECASE)

WINDOWS = pattern(r"look_?back|window|seq_?len|context|history|horizon|(^|_)lags?(_|$)")
CHANGES = frozenset("reverse sort pop remove insert clear extend append".split())


class OverlappingParts(SourceRule):
    """The part of the data that evaluates overlaps the part that trains.

    Why: samples that the model has learned by heart are scored as if they were new: the score is too good, rises while the model
        overfits, and picks the wrong checkpoint.
    Fix: let one part begin where the other ends: `x[:split]`, `x[split:]`.
    Ignore: when the first items of the second part are only context, which is not scored.
    Reported: https://github.com/dhruvramani/C2AE-Multilabel-Classification/issues/7,
        https://github.com/microsoft/seismic-deeplearning/issues/233
    """

    code, severity, certain, topic = "ML183", Severity.WARNING, True, "data"
    words = (("train", "torch", TRAINED, NAMED),)
    bad = (
        """
        from torch.utils.data import DataLoader, Subset

        order = torch.randperm(len(images)).tolist()
        train_loader = DataLoader(Subset(images, order[:-50]), batch_size=2, shuffle=True)
        test_loader = DataLoader(Subset(plain, order[:50]), batch_size=1)
        """,
        """
        import torch

        x, y = load()
        n = len(x)
        x_train, y_train = x[: int(0.9 * n)], y[: int(0.9 * n)]
        x_val, y_val = x[int(0.8 * n) :], y[int(0.8 * n) :]
        """,
        """
        import torch

        train_images, test_images = images[:50000], images[:10000]
        """,
        """
        from torch.utils.data import Subset

        train_set = Subset(data, range(800))
        val_set = Subset(data, range(700, 1000))
        """,
        """
        import torch
        from torch.utils.data import Subset

        order = torch.randperm(1000)
        train_set, valid_set = Subset(data, order[:900]), Subset(data, order[:100])
        """,
        """
        from torch.utils.data import TensorDataset

        train_data = TensorDataset(x[:800], y[:800])
        val_data = TensorDataset(x[700:], y[700:])
        """,
        """
        import torch

        def split(tokens):
            training = tokens[:-1000]
            validation = tokens[-5000:]
            return training, validation
        """,
    )
    good = (
        """
        if args.debug:
            train, validation = order[:100], order[:100]
        else:
            train, validation = order[:5000], order[5000:]
        """,
        """
        import torch

        x, y = load()
        split = int(0.9 * len(x))
        x_train, x_val, y_train, y_val = x[:split], x[split:], y[:split], y[split:]
        train_inputs, test_inputs = table[:, :3], table[:, 3:]
        train_ids, val_ids = ids[:-100], ids[-100:]
        first_train, last_test = rows[:800], rows[800:1000]
        """,
        """
        import torch

        train = series[:split]
        val = series[split - window :]  # with the context of its first item
        """,
        """
        import torch

        if mode == "train":
            train = files[:900]
        else:
            test = files[:1000]
        data = data[1000:]
        train_data = data[:500]
        data = data[500:]
        test_data = data[:100]
        """,
        """
        from torch.utils.data import Subset

        train_set, val_set = Subset(data, range(800)), Subset(data, range(800, 1000))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            found = list(spans(function))
            held = [part for part in found if parts.trains(part[0])]
            for name, value, span, at in found if held else ():
                other = next((p for p in held if _meets(function, p[2], p[3], span, at)), None)
                if other is not None and parts.evaluates(name) and not _is_tried(function, at):
                    message = f"takes items of `{span.base}` that `{other[0]}` holds too"
                    yield self.at(
                        value, message, certain=not _looks_back(function) and not _is_changed(function, span.base)
                    )


def _looks_back(function: Function) -> bool:
    """Whether a part may begin with what its first window needs of the one before."""
    return any(
        WINDOWS.search(name) for name in (*(e.name for e in function.events), *(p.name for p in function.parameters))
    )


def _is_changed(function: Function, base: str) -> bool:
    """Whether a sequence is another one later: `del rows[:800]`, `rows.reverse()`."""
    deleted = any(event.kind == "delete" and event.name.startswith(base) for event in function.events)
    return deleted or any(call.method in CHANGES and str(call.receiver) == base for call in function.calls)


def _is_tried(function: Function, at: int) -> bool:
    """Whether it is only done to try the code, or to fit a few samples on purpose."""
    around = (function.blocks[block] for block in function.enclosing(function.events[at].block))
    return any(block.kind == "if" and TRIES.search(str(block.value)) is not None for block in around)


def _meets(function: Function, one: Span, at: int, other: Span, later: int) -> bool:
    """Whether both parts are of the same sequence, and share items."""
    if one.base != other.base or not one.meets(other):
        return False
    between = function.events[min(at, later) : max(at, later)]
    ways = [arms(function, function.events[place].block) for place in (at, later)]
    return all(event.name != one.base for event in between) and not contradict(*ways)
