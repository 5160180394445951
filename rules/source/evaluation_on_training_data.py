"""ML172."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import parts
from modellint.source.code import Event, Function, Value

HOOKS = ("val_dataloader", "test_dataloader")
EVALUATES = pattern(
    r"(?!cross_)(?:\w+_)?(?:val|valid|validate|validation|eval|evaluate|evaluation|test)(?:_\w+)?", re.IGNORECASE
)


class EvaluationOnTrainingData(SourceRule):
    """The loader of the evaluation is given the training data.

    Why: the score tells how well the model knows what it was trained on: it rises while the model overfits, picks the
        wrong checkpoint, and never stops early. The line is a copy of the one for training, changed at one end only.
    Fix: give the loader the data set that is held out.
    Ignore: when the score on the training data is what is wanted (name it so: `train_eval_loader` is not reported); a suspicion
        unless a data set for the evaluation is made beside it and no loader is given it.
    Reported: https://github.com/HuCaoFighting/Swin-Unet/issues/135, https://github.com/ChenYichen9527/EV-UAV/issues/25,
        https://github.com/KrishnaDN/x-vector-pytorch/issues/8
    """

    code, severity, topic = "ML172", Severity.WARNING, "data"
    words = (("DataLoader", "train"), ("Trainer(", "eval_dataset"))
    bad = (
        """
        from torch.utils.data import DataLoader, random_split

        train_set, val_set = random_split(data, [800, 200])
        train_loader = DataLoader(train_set, shuffle=True, **options)
        val_loader = DataLoader(train_set, shuffle=False, **options)
        """,
        """
        from torch.utils.data import DataLoader

        def main(model, train_set, val_set):
            train_loader, val_loader = DataLoader(train_set, shuffle=True), DataLoader(val_set)
            for epoch in range(10):
                train(model, train_loader)
                print(evaluate(model, train_loader))
        """,
        """
        from torch.utils.data import DataLoader

        db_train, db_val = Slices(root, "train"), Slices(root, "val")
        train_loader = DataLoader(db_train, batch_size=24, shuffle=True)
        val_loader = DataLoader(db_train, batch_size=24, shuffle=False)
        """,
        """
        import torch

        class Trainer:
            def __init__(self, files):
                self.train_set = Speech(files, "train")
                self.train_loader = torch.utils.data.DataLoader(self.train_set, batch_size=8, shuffle=True)
                self.loader_test = torch.utils.data.DataLoader(dataset=self.train_set, batch_size=8)
        """,
        """
        from torch.utils.data import DataLoader, random_split

        def loaders(data):
            train, val = random_split(data, [800, 200])
            return DataLoader(train, batch_size=8, shuffle=True), DataLoader(train, batch_size=8)
        """,
        """
        class Data(L.LightningDataModule):
            def setup(self, stage):
                self.train, self.val = TensorDataset(x[:500], y[:500]), TensorDataset(x[500:], y[500:])

            def train_dataloader(self):
                return DataLoader(self.train, batch_size=32, shuffle=True)

            def val_dataloader(self):
                return DataLoader(self.train, batch_size=32)
        """,
        """
        trainer = transformers.Trainer(model=model, args=args, train_dataset=data["train"], eval_dataset=data["train"])
        """,
        """
        from torch.utils.data import DataLoader

        def main(model, train_set, val_set, args):
            train_loader, val_loader = DataLoader(train_set, shuffle=True), DataLoader(val_set)
            if args.evaluate:
                return validate(model, val_loader)
            for epoch in range(10):
                train(model, train_loader)
                error = validate(model, train_loader)
                best = min(best, error)
        """,
        """
        from torch.utils.data import DataLoader

        loaders = {
            "train": DataLoader(sets["train"], batch_size=8, shuffle=True),
            "val": DataLoader(sets["train"], batch_size=8),
        }
        """,
    )
    good = (
        """
        from torch.utils.data import DataLoader

        loaders = {
            "train": DataLoader(sets["train"], shuffle=True),
            "val": DataLoader(sets["val"]),
            "train_eval": DataLoader(sets["train"]),
        }
        """,
        """
        from torch.utils.data import DataLoader

        def main(model, train_set, val_set):
            train_loader, val_loader = DataLoader(train_set, shuffle=True), DataLoader(val_set)
            for epoch in range(10):
                train_accuracy = evaluate(model, train_loader)
                seen = evaluate(model, train_loader)
                accuracy = evaluate(model, val_loader)
            fitted = evaluate(model, train_loader)
        """,
        """
        from torch.utils.data import DataLoader

        train_loader = DataLoader(train_set, **{"sampler": SubsetRandomSampler(kept)})
        val_loader = DataLoader(val_set, **options)
        """,
        """
        from torch.utils.data import DataLoader

        def main(model, train_set, val_set):
            train_loader, val_loader = DataLoader(train_set, shuffle=True), DataLoader(val_set)
            train(model, train_loader)
            print(evaluate(model, train_loader), evaluate(model, val_loader))
        """,
        """
        from torch.utils.data import DataLoader

        train_set, val_set = random_split(data, [800, 200])
        train_loader, val_loader = DataLoader(train_set, shuffle=True), DataLoader(val_set)
        scores = trainer.cross_validate(model, train_loader)  # which makes the parts itself
        """,
        """
        from torch.utils.data import DataLoader, SubsetRandomSampler

        train_loader = DataLoader(train_set, sampler=SubsetRandomSampler(kept))
        val_loader = DataLoader(train_set, sampler=SubsetRandomSampler(held_out))
        """,
        """
        from torch.utils.data import DataLoader

        train_eval_loader = DataLoader(train_set, batch_size=100)
        test_loader = DataLoader(test_set, batch_size=100, collate_fn=train_set.collate)
        """,
        """
        from torch.utils.data import DataLoader

        train, held_out = random_split(data, [800, 200])
        valid_loader = DataLoader(held_out, batch_size=100)
        latest_loader = DataLoader(train, batch_size=100)
        """,
        """
        from torch.utils.data import DataLoader, random_split

        def loaders(data):
            train, val = random_split(data, [800, 200])
            check(val)
            return DataLoader(train, batch_size=8, shuffle=True), DataLoader(train, batch_size=8)
        """,
        """
        class Data(L.LightningDataModule):
            def setup(self, stage):
                self.train, self.val = TensorDataset(x[:500], y[:500]), TensorDataset(x[500:], y[500:])

            def train_dataloader(self):
                return DataLoader(self.train, batch_size=32, shuffle=True)

            def val_dataloader(self):
                return DataLoader(self.val, batch_size=32)

        trainer = transformers.Trainer(model, args, train_dataset=data["train"], eval_dataset=data["validation"])
        """,
        """
        from torch.utils.data import DataLoader

        train_val_set = Images(root, "trainval")
        val_loader = DataLoader(train_val_set, batch_size=100)
        """,
        """
        from torch.utils.data import DataLoader

        train_set, test_set = Images(root, "train"), Images(root, "test")
        test_loader = DataLoader(test_set, batch_size=100)
        test_accuracy = measure(model, test_loader)  # kept, and used by nothing
        test_loader = DataLoader(train_set, batch_size=8)  # some samples to look at
        """,
    )
    suspected = """
        from torch.utils.data import DataLoader

        train_set, test_set = Images(root, "train"), Images(root, "test")
        train_loader, memory_test_loader = DataLoader(train_set, shuffle=True), DataLoader(train_set)

        def evaluate(model):  # goes over the set itself
            return [model(x).argmax() == y for x, y in test_set]
        """

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions if "DataLoader" in script.called else ():
            yield from self._asked(script, function)
            bound = Counter(event.name for event in function.events if event.kind == "assign")
            for event in function.events:
                data = parts.loaded(event)
                yield from self._keyed(event)
                if bound[event.name] > 1:  # a second loader of that name has another purpose
                    continue
                if data is not None and parts.evaluates(event.name) and parts.trains(data.name):
                    left = next(_unused(script, data, function), "")
                    beside = f", and `{left}` to none" if left else ""
                    message = f"gives `{data.name}` to `{event.name}`{beside}"
                    yield self.at(event.value or data, message, certain=bool(left))
                elif event.kind == "return" and event.value is not None:
                    yield from self._twice(script, function, event.value)
                    yield from self._hooked(script, function, event.value)
        for call in script.calls if any(name.endswith("Trainer") for name in script.called) else ():
            yield from self._trainer(call)

    def _asked(self, script: Script, function: Function) -> Iterator[Diagnostic]:
        """An evaluation that is given the training loader, where nothing is given the loader that was made for it."""
        made = [e.name for e in function.events if e.kind == "assign" and e.value is not None and _loads(e.value)]
        held = [name for name in made if parts.evaluates(name)]
        for event in function.events if held else ():
            call, given = event.value, _names_given(event)
            trained = next((name for name in given if name in made and parts.trains(name)), "")
            if call and trained and EVALUATES.fullmatch(call.method) and not any(map(parts.evaluates, given)):
                if not any(_is_read(script, function, name) for name in held):
                    message = f"gives `{trained}` to `{call.method}`, and `{held[0]}` to nothing"
                    yield self.at(call, message, certain=True)
                elif _is_only_one(function, event):
                    message = (
                        f"gives `{trained}` to `{call.method}` in each pass, and nothing there is given `{held[0]}`"
                    )
                    yield self.at(call, message, certain=False)

    def _keyed(self, event: Event) -> Iterator[Diagnostic]:
        """`{"val": DataLoader(sets["train"])}`."""
        for key, loader in event.value.keywords if event.value is not None and event.value.kind == "dict" else ():
            data = loader.argument(0, "dataset") if _loads(loader) and parts.evaluates(key) else None
            taken = data.arguments[0].constant if data is not None and data.kind == "item" else None
            if data is not None and isinstance(taken, str) and parts.trains(taken):
                yield self.at(loader, f"gives `{data}` to the loader that is called {key!r}", certain=False)

    def _twice(self, script: Script, function: Function, returned: Value) -> Iterator[Diagnostic]:
        """Of loaders that are returned together, the second one over the same data, where what is held out gets none."""
        seen = set[str]()
        for data in map(parts.dataset, returned.arguments if returned.kind == "tuple" else ()):
            if data is not None and data.name in seen and parts.trains(data.name):
                for left in islice(_unused(script, data, function), 1):
                    yield self.at(data, f"gives `{data.name}` to a second loader, and `{left}` to none", certain=True)
            seen |= {data.name} if data is not None else set()

    def _hooked(self, script: Script, function: Function, loader: Value) -> Iterator[Diagnostic]:
        """What a `val_dataloader()` of Lightning returns."""
        data, name = parts.dataset(loader), function.name.rpartition(".")[2]
        if data is not None and function.owner and name in HOOKS and parts.trains(data.name):
            methods = (other for other in script.functions if other.owner == function.owner)
            left = next(_unused(script, data, *methods), "")
            beside = f", and `{left}` to none" if left else ""
            yield self.at(loader, f"gives `{data.name}` to `{name}()`{beside}", certain=bool(left))

    def _trainer(self, call: Value) -> Iterator[Diagnostic]:
        """A Trainer of transformers that is told one data set twice."""
        learned, judged = call.argument(None, "train_dataset"), call.argument(None, "eval_dataset")
        same = learned is not None and learned.kind != "constant" and str(learned) == str(judged)
        if same and call.method.endswith("Trainer"):
            yield self.at(call, f"trains on `{learned}` and evaluates on it", certain=False)


def _names_given(event: Event) -> list[str]:
    """The names that a call is given."""
    call = event.value if event.kind == "call" else None
    given = (*call.arguments, *(value for _, value in call.keywords)) if call is not None else ()
    return [value.name for value in given if value.kind == "name"]


def _is_only_one(function: Function, call: Event) -> bool:
    """Whether a loop around a call keeps its result, by no name that tells of training, and evaluates nothing else."""
    loop = next((b for b in function.enclosing(call.block) if function.blocks[b].kind in ("for", "while")), None)
    inside = [event for _, event in function.inside(loop)] if loop is not None else []
    kept = [e.name for e in inside if e.kind == "assign" and e.value is call.value]
    beside = (name for event in inside for name in _names_given(event))
    return bool(kept) and not any(map(parts.trains, kept)) and not any(map(parts.evaluates, beside))


def _loads(value: Value) -> bool:
    return value.kind == "call" and value.method == "DataLoader"


def _is_read(script: Script, function: Function, name: str) -> bool:
    """Whether the function, or one that sees its names, does anything with what a name is bound to."""
    shared = function.kind == "module" or name.startswith("self.")
    seen = (f for f in script.functions if shared or f"{f.name}.".startswith(f"{function.name}."))
    values = (value for f in seen for value in (*(e.value for e in f.events), *(b.value for b in f.blocks)) if value)
    return any(part.name == name or part.name.startswith(f"{name}.") for value in values for part in value.within())


def _unused(script: Script, training: Value, *functions: Function) -> Iterator[str]:
    """The data sets for the evaluation that are made as the one for the training is, and that nothing is given."""
    events = [event for function in functions for event in function.events]
    makers = {maker for event in events if event.name == training.name and (maker := _maker(event))}
    made = (event.name for event in events if _maker(event) in makers and parts.evaluates(event.name))
    yield from (name for name in made if not any(_is_read(script, function, name) for function in functions))


def _maker(event: Event) -> str | None:
    """What is called to make what a name is bound to, alone or as one of several."""
    made = event.value.base if event.value is not None and event.value.kind == "item" else event.value
    return made.name if event.kind == "assign" and made is not None and made.kind == "call" else None
