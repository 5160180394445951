"""ML122."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from modellint import Diagnostic, Evidence, Fix, Location, Run, Script, Severity, SourceRule, Step
from modellint.core import edit

# Datasets that list their samples class by class.
SORTED = frozenset(
    f"torchvision.datasets.{name}" for name in ("ImageFolder", "DatasetFolder", "Caltech101", "Caltech256")
)
# Files that call one of these may have mixed the samples already, or draw them at random.
MIXING = frozenset(
    {
        "random_split", "shuffle", "permutation", "randperm", "train_test_split", "sample", "choice", "choices",
    }
)  # fmt: skip
EVALUATION = frozenset({"val", "valid", "validation", "test", "eval", "dev"})
CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss")
ORDERED = ("Iterable", "IterDataPipe", "Sequence", "Series", "Window", "Video", "Stream", "torchtext.")


def _run(*labels: tuple[int, ...]) -> Run:
    return Run(tuple(Step(i, labels=row) for i, row in enumerate(labels)))


class UnshuffledTrainingData(SourceRule):
    """The training data is gone through in its own order: the loader neither shuffles nor has a sampler.

    Why: data often lies sorted by class or by source. Batches then hold one kind of sample, the gradient of each batch
        pulls towards it, batch norm sees statistics of one class, and the model forgets what it saw before. Even
        in random order the same batches meet again in every epoch.
    Fix: `DataLoader(..., shuffle=True)` for training.
    Ignore: for data whose order carries meaning (a stream, one long text), and for a deliberate curriculum.
    Thresholds: a run confirms it when neighbouring samples share their label far more often than in random order: by
        more than `excess` = 0.3 over the sum of the squared shares of the labels, over at least `rows` = 64 samples.
    Reported: https://github.com/lucidrains/byol-pytorch/issues/23, https://github.com/joaoamcarvalho/mpd-public/issues/6
    """

    code, severity, topic = "ML122", Severity.WARNING, "data"
    remedy = "shuffle"
    words = ("DataLoader(",)
    excess = 0.3
    rows = 64
    bad = (
        """
        from torch.utils.data import DataLoader
        from torchvision.datasets import ImageFolder

        loader = DataLoader(ImageFolder("train"), batch_size=32, num_workers=4)
        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        import torch
        from torchvision import datasets

        def loaders(folder):
            data = datasets.ImageFolder(folder)
            return torch.utils.data.DataLoader(data, 64, False)

        class Trainer:
            def __init__(self, model):
                self.model, self.criterion = model, torch.nn.CrossEntropyLoss()
                self.loader = loaders("train")
                self.optimizer = torch.optim.Adam(model.parameters())

            def fit(self):
                for i, (x, y) in enumerate(self.loader):
                    self.optimizer.zero_grad()
                    self.criterion(self.model(x), y).backward()
                    self.optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader, TensorDataset

        train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=False)
        for x, y in train_loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        """,
        """
        import lightning as L
        from torch.utils.data import DataLoader

        class Digits(L.LightningDataModule):
            def train_dataloader(self):
                return DataLoader(self.train, batch_size=32)
        """,
        """
        from torch.utils.data import DataLoader

        def loaders(train, val, size):
            return {
                "train": DataLoader(ConcatDataset(train), batch_size=size, shuffle=False),
                "val": DataLoader(ConcatDataset(val), batch_size=size, shuffle=False),
            }
        """,
    )
    fixed = (
        """
        from torch.utils.data import DataLoader
        from torchvision.datasets import ImageFolder

        loader = DataLoader(ImageFolder("train"), batch_size=32, num_workers=4, shuffle=True)
        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        import torch
        from torchvision import datasets

        def loaders(folder):
            data = datasets.ImageFolder(folder)
            return torch.utils.data.DataLoader(data, 64, shuffle=True)

        class Trainer:
            def __init__(self, model):
                self.model, self.criterion = model, torch.nn.CrossEntropyLoss()
                self.loader = loaders("train")
                self.optimizer = torch.optim.Adam(model.parameters())

            def fit(self):
                for i, (x, y) in enumerate(self.loader):
                    self.optimizer.zero_grad()
                    self.criterion(self.model(x), y).backward()
                    self.optimizer.step()
        """,
        None,
    )
    good = (
        """
        from torch.utils.data import DataLoader

        def loaders(data, sampler):
            return {"train": DataLoader(data, sampler=sampler), "val": DataLoader(data)}

        embedded = {"train": embed(DataLoader(first)), "test": embed(DataLoader(second))}
        """,
        """
        import lightning as L
        from torch.utils.data import DataLoader

        class Digits(L.LightningDataModule):
            def train_dataloader(self):
                return DataLoader(self.train, batch_size=32, shuffle=True)

            def val_dataloader(self):
                return DataLoader(self.val, batch_size=32)
        """,
        """
        from torch.utils.data import DataLoader

        loader = DataLoader(dataset, shuffle=sampler is None, sampler=sampler)
        for x, y in loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader, IterableDataset

        class Lines(IterableDataset):
            def __iter__(self):
                return iter(open("corpus.txt"))

        for x, y in DataLoader(Lines(), batch_size=32):
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader
        from torchvision.datasets import ImageFolder

        train, test = DataLoader(ImageFolder("train"), 32, True), DataLoader(ImageFolder("test"), 32)

        def run(loader, optimizer=None):
            for x, y in loader:
                loss = criterion(model(x), y)
                if optimizer:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

        run(train, optimizer)
        run(test)
        """,
        """
        from torch.utils.data import DataLoader

        loader = DataLoader(dataset, **settings)
        for x, y in loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader, random_split

        train, test = random_split(dataset, [900, 100])
        for x, y in DataLoader(train, batch_size=900):
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        """,
    )
    confirmed_by = _run((0,) * 32, (0,) * 16 + (1,) * 16, (1,) * 32)
    not_confirmed_by = _run((0, 1, 1, 0) * 8, (1, 0, 1, 0) * 8, (0, 0, 1, 1) * 8)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        hooks = [f.location for f in script.functions if f.owner and f.name.endswith(".train_dataloader")]
        named = _named(script) if script.loaders else set()
        for loader in script.loaders:
            hooked = _contains(hooks, loader.location) or id(loader.call) in named
            if (loader.loop is None or loader.owned) and not hooked:
                continue
            if loader.shuffled is not False or loader.samplers:
                continue
            if loader.call.unpacks or any(word in name for name in loader.datasets for word in ORDERED):
                continue
            sorted_by_class = bool(loader.datasets) and SORTED.issuperset(loader.datasets)
            if sorted_by_class and any(loss.kind in CLASS_LOSSES for loss in script.losses):
                folder = loader.datasets[0].rpartition(".")[2]
                message = f"gives training the classes of `{folder}` one after the other"
                yield self.at(loader, message, certain=id(loader.call) not in named)
            elif not any(call.method in MIXING for call in script.calls):
                yield self.at(loader, "gives training its data in order: it neither shuffles nor has a sampler")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        rows = [step.labels for step in run.steps if step.labels]
        counts = Counter(label for row in rows for label in row)
        if counts.total() < self.rows or len(counts) < 2:
            return None
        bound = sum((count / counts.total()) ** 2 for count in counts.values()) + self.excess
        share = _neighbours(rows)
        return Evidence("share of neighbouring samples of one class", share, bound, holds=share > bound)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for loader in script.loaders:
            if loader.location == finding.location:
                given = loader.call.argument(2, "shuffle")
                if given is None:
                    return Fix((edit.add(loader, "shuffle", "True"),), safe=False)
                return Fix((edit.argument(given, "shuffle", "True"),), safe=False)
        return None


def _named(script: Script) -> set[int]:
    """The loaders that a dict holds under "train", beside one for the evaluation."""
    values = (event.value for function in script.functions for event in function.events if event.value is not None)
    tables = (dict(part.keywords) for value in values for part in value.within() if part.kind == "dict")
    return {id(table["train"]) for table in tables if "train" in table and not EVALUATION.isdisjoint(table)}


def _contains(places: Sequence[Location], inner: Location) -> bool:
    return any((place.line or 0) <= (inner.line or 0) <= (place.end_line or 0) for place in places)


def _neighbours(rows: Sequence[Sequence[int]]) -> float:
    pairs = [one == other for row in rows for one, other in pairwise(row)]
    return sum(pairs) / max(len(pairs), 1)
