"""ML183."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import parts, tensors
from modellint.source.branches import arms, contradict
from modellint.source.code import Event, Function, Value
from modellint.source.spans import Span, spans

NAMED = pattern(
    rb"(?:val(?:id|idation)?|test(?:ing)?|dev|eval)(?:_\w+|set|data)?(?:, *\w+)* *= *[^=\n]*(?:\[[^\[\]\n]*:[^\[\]\n]*\]|Subset\()"
)
TRAINED = pattern(rb"train\w*(?:, *\w+)* *= *[^=\n]*(?:\[[^\[\]\n]*:|Subset\()")
WHOLE = pattern(
    rb"train\w* *= *(\w+)(?:\.(?:reset_index|copy)\([^\n]*\))? *\n[^\n]*(?:val|test|dev)\w* *= *\1\W"
    rb"|train\w*, *\w+ *= *(\w+), *\2[.\w]*\["
)
SPLITS = pattern(rb"def \w*split(?s:.){0,600}?return (\w+), *\1\[")
SPLIT_TWICE = pattern(rb"train_test_split\(\s*(\w+)\b(?s:.){0,1500}?train_test_split\(\s*\1\b")
DRAWN_TWICE = pattern(rb"random_split\((?s:.){0,600}?random_split\(")
SAME = frozenset({"reset_index", "copy"})
PARTS = frozenset({"reset_index", "copy", "query", "tolist"})
SEEDS = frozenset({"manual_seed", "seed_everything", "set_seed", "seed"})
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
    words = (
        ("train", "torch", TRAINED, NAMED), ("train", "torch", WHOLE), ("split(", "torch", SPLITS), ("train", "torch", SPLIT_TWICE),
        ("train", "torch", DRAWN_TWICE),
    )  # fmt: skip
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
        """
        import torch

        def fold(df, k):
            train_df = df.reset_index(drop=True)
            valid_df = df[df.fold == k].reset_index(drop=True)
            return Images(train_df), Images(valid_df)
        """,
        """
        import torch

        train_rows, test_rows = ratings, ratings.iloc[cut:]
        """,
        """
        import torch
        from sklearn.model_selection import train_test_split

        train_df, test_df = train_test_split(df, test_size=0.2)
        train_df, val_df = train_test_split(df, test_size=0.1)
        loaders = loader(train_df), loader(val_df), loader(test_df)
        """,
        """
        import torch
        from torch.utils.data import random_split

        train_set, _ = random_split(ImageFolder("images", augment), [800, 200])
        _, val_set = random_split(ImageFolder("images", plain), [800, 200])
        """,
        """
        import torch

        def read_split(path):
            rows = read(path)
            held_out = len(rows) // 10
            return rows, rows[:held_out]

        train_rows, val_rows = read_split("labels.csv")
        """,
    )
    good = (
        """
        import torch
        from sklearn.model_selection import train_test_split
        from torch.utils.data import random_split

        train_df = df.reset_index(drop=True)
        valid_df = df[df.fold == 0]
        train_df = train_df[train_df.fold != 0]
        train_df, test_df = train_test_split(df, test_size=0.2)
        train_df, val_df = train_test_split(train_df, test_size=0.1)
        X_train, X_test = train_test_split(X, random_state=0)
        y_train, y_test = train_test_split(y, random_state=0)
        torch.manual_seed(0)
        train_set, _ = random_split(augmented, [800, 200])
        torch.manual_seed(0)
        _, val_set = random_split(plain, [800, 200])
        use(test_df, val_df)
        """,
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

            for event, message in (*_of_whole(function), *_split_again(function), *_drawn_again(function)):
                yield self.at(event, message, certain=False)


def _of_whole(function: Function) -> Iterator[tuple[Event, str]]:
    """A part for the evaluation of what is for training as a whole."""
    events = [event for event in function.events if event.kind == "assign" and event.value is not None]
    changed = Counter(event.name.partition("[")[0] for event in function.events if event.kind != "call")
    wholes = {
        (whole, arms(function, event.block)): event.name
        for event in events
        if parts.trains(event.name) and (whole := _name(event.value, SAME)) and changed[event.name] == 1
    }
    splits = "split" in function.name.rpartition(".")[2]
    for event in function.events if splits else ():
        given = event.value.arguments if event.kind == "return" and event.value and event.value.kind == "tuple" else ()
        whole = given[0].name if given and given[0].kind == "name" else ""
        if any(v.kind == "item" and v.arguments[0].kind == "unknown" and str(v.base) == whole for v in given[1:]):
            yield event, f"gives back a part of `{whole}` beside all of it"
    for event in events if wholes else ():
        taken = event.value
        while taken is not None and taken.kind == "call" and taken.method in PARTS and taken.receiver is not None:
            taken = taken.receiver
        if taken is None or taken.kind != "item" or taken.base is None or not parts.evaluates(event.name):
            continue
        whole = taken.base.name.removesuffix(".iloc").removesuffix(".loc")
        trained = wholes.get((whole, arms(function, event.block)))
        if trained and isinstance(taken.arguments[0].constant, str | int) is False:
            yield event, f"takes a part of `{whole}`, and `{trained}` is all of it"


def _name(value: Value | None, methods: frozenset[str]) -> str:
    """The name of a sequence that is taken as a whole."""
    while value is not None and value.kind == "call" and value.method in methods:
        value = value.receiver
    return value.name if value is not None and value.kind == "name" else ""


def _split_again(function: Function) -> Iterator[tuple[Event, str]]:
    """A second random split of all the data, after a first one whose test part is still used."""
    drawn = list(_drawn(function, "train_test_split"))
    for at, event, call in drawn:
        whole = call.arguments[0].name if call.arguments else ""
        for before, earlier, other in drawn if whole and parts.trains(event.name) else ():
            same = other is not call and other.arguments and other.arguments[0].name == whole
            if not same or before > at or not parts.evaluates(earlier.name):
                continue
            again = any(one.name == event.name and base is other for _, one, base in drawn)
            own = {one.name for _, one, base in drawn if base is call}
            read = any(_reads(e, earlier.name) for e in function.events[at:])
            bound_once = tensors.bound(function, whole, at) is tensors.bound(function, whole, before)
            if again and read and bound_once and earlier.name not in own and event.block == earlier.block:
                yield event, f"splits `{whole}` once more: `{event.name}` holds samples of `{earlier.name}` too"
                return


def _drawn_again(function: Function) -> Iterator[tuple[Event, str]]:
    """Two data sets of the same samples that are split at random one after the other, each into other parts."""
    drawn = list(_drawn(function, "random_split"))
    for at, event, call in drawn:
        for before, earlier, other in drawn if parts.evaluates(event.name) else ():
            if other is call or before > at or not parts.trains(earlier.name):
                continue
            names = [{e.name for _, e, base in drawn if base is made} for made in (call, other)]
            crossed = any(map(parts.trains, names[0])) or any(map(parts.evaluates, names[1]))
            seeded = any(c.method in SEEDS for e in function.events[before:at] if (c := e.value) and e.kind == "call")
            told = any(made.argument(2, "generator") is not None for made in (call, other))
            if not crossed and not seeded and not told and _are_alike(function, call, other, at, before):
                yield event, f"is drawn anew: `{event.name}` holds samples of `{earlier.name}` too"
                return


def _are_alike(function: Function, one: Value, other: Value, at: int, before: int) -> bool:
    """Whether both are made of the same files, by the same class."""
    made = [
        tensors.followed(function, c.arguments[0], place) for c, place in ((one, at), (other, before)) if c.arguments
    ]
    if len(made) < 2 or any(value.kind != "call" or not value.arguments for value in made):
        return False
    train = [str(value.argument(None, "train")) for value in made]
    return (
        made[0].name == made[1].name and train[0] == train[1] and str(made[0].arguments[0]) == str(made[1].arguments[0])
    )


def _drawn(function: Function, splits: str) -> Iterator[tuple[int, Event, Value]]:
    """The names that are bound to a part of a random split, with the call that splits."""
    for at, event in enumerate(function.events):
        item = event.value if event.kind == "assign" else None
        if item is not None and item.kind == "item" and item.base is not None and item.base.method == splits:
            yield at, event, item.base


def _reads(event: Event, name: str) -> bool:
    return event.value is not None and any(
        part.kind == "name" and (part.name == name or part.name.startswith(f"{name}.")) for part in event.value.within()
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
