"""ML179."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Event, Function, Value

SERIES = pattern(
    r"series|stock|price|forecast|horizon|look_?back|temperature|power|sensor|demand|sales|weather|traffic|time_?step|"
    r"signal|eeg|ecg|close|load_curve|ohlc",
    re.IGNORECASE,
)
SPLITS = ("train_test_split", "random_split")


class WindowsSplitAtRandom(SourceRule):
    """Overlapping windows of a time series are split into training and test at random.

    Why: two windows that begin one step apart hold nearly the same numbers. Split at random, the test set is made of
        neighbours of the training set, and of a past whose future was trained on: the score says nothing about new data.
    Fix: split the series in time first and cut the windows of each part: `train_test_split(..., shuffle=False)`.
    Ignore: when the windows do not overlap, or come from many independent series that are split as a whole.
    Reported: https://github.com/Y-debug-sys/Diffusion-TS/issues/67, https://github.com/HelenGuohx/logbert/issues/57,
        https://github.com/yuxiangalvin/DeepLOB-Model-Implementation-Project/issues/1
    """

    code, severity, certain, topic = "ML179", Severity.WARNING, False, "data"
    calls = SPLITS
    words = (("train_test_split(", "range(", "torch"), ("random_split(", "range(", "+", ".append("))
    bad = (
        """
        import torch
        from sklearn.model_selection import train_test_split

        def windows(series, n=24):
            x = np.stack([series[i : i + n] for i in range(len(series) - n)])
            return x, series[n:]

        x, y = windows(np.load("power.npy"))
        train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.2)
        """,
        """
        import torch
        from sklearn.model_selection import train_test_split

        x, y = [], []
        for i in range(len(prices) - lookback):
            x.append(prices[i : i + lookback])
            y.append(prices[i + lookback])
        x, y = np.array(x), np.array(y)
        train_x, test_x, train_y, test_y = train_test_split(x, y, random_state=0)
        """,
    )
    good = (
        """
        import torch
        from sklearn.model_selection import train_test_split

        def windows(series, n=24):
            x = np.stack([series[i : i + n] for i in range(len(series) - n)])
            return x, series[n:]

        x, y = windows(np.load("power.npy"))
        train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.2, shuffle=False)
        """,
        """
        import torch
        from sklearn.model_selection import train_test_split

        train, test = train_test_split(files, random_state=0)
        for name in train:
            series = read(name)
            windows = [series[i : i + 24] for i in range(len(series) - 24)]
        parts = [series[i : i + 24] for i in range(0, len(series), 24)]
        first, second = train_test_split(parts)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        makers = {f.name: set(_windows(f)) for f in script.functions}
        if not any(makers.values()) or not any(SERIES.search(name) for name in _names(script)):
            return
        for function in script.functions:
            for at, event in enumerate(function.events):
                call = event.value if event.kind == "call" else None
                if call is not None and call.method in SPLITS and _is_random(call):
                    whole = call.arguments[0]
                    if whole.kind == "name" and _is_windows(function, whole.name, at, makers):
                        yield self.at(call, f"splits `{whole.name}` at random: its windows overlap in time")


def _names(script: Script) -> Iterator[str]:
    for function in script.functions:
        yield function.name
        for event in function.events:
            yield event.name
            yield from (part.name for part in (event.value.within() if event.value is not None else ()))


def _is_random(call: Value) -> bool:
    given = call.argument(None, "shuffle")
    return bool(call.arguments) and not call.unpacks and (given is None or given.constant is True)


def _windows(function: Function) -> Iterator[str]:
    """The names that hold windows which begin one step apart."""
    for event in function.events:
        value = event.value
        if event.kind == "assign" and value is not None:
            if any(
                p.kind == "comprehension" and _steps(p.base) and any(map(_is_slice, p.arguments))
                for p in value.within()
            ):
                yield event.name
        elif value is not None and _is_in_steps(function, event) and _grows_by_slice(value):
            yield str(value.receiver)


def _steps(over: Value | None) -> bool:
    """A range that goes on by one."""
    return over is not None and over.name == "range" and len(over.arguments) < 3


def _is_in_steps(function: Function, event: Event) -> bool:
    return any(
        function.blocks[b].kind == "for" and _steps(function.blocks[b].value) for b in function.enclosing(event.block)
    )


def _grows_by_slice(call: Value) -> bool:
    return call.kind == "call" and call.method == "append" and len(call.arguments) == 1 and _is_slice(call.arguments[0])


def _is_slice(value: Value) -> bool:
    """`series[i : i + n]`."""
    index = value.arguments[0] if value.kind == "item" else None
    if index is None or index.kind != "unknown" or len(index.arguments) != 2:
        return False
    start, end = index.arguments
    return start.kind == "name" and end.name == "+" and any(part.name == start.name for part in end.arguments)


def _is_windows(function: Function, name: str, at: int, makers: dict[str, set[str]]) -> bool:
    """Whether a name holds windows: as they are, made an array, or given back by a function that makes them."""
    if name in makers[function.name]:
        return True
    value = tensors.bound(function, name, at)
    value = value.base if value is not None and value.kind == "item" else value
    if value is None or value.kind != "call":
        return False
    return bool(makers.get(value.name)) or any(
        a.name in makers[function.name] for a in value.arguments if a.kind == "name"
    )
