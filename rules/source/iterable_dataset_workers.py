"""ML159."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function
from modellint.source.facts import Loader

ITERABLE = ("torch.utils.data.IterableDataset", "torch.utils.data.dataset.IterableDataset", "IterableDataset")
# What makes the copies of the workers differ, or has no fixed content of which they would give the same.
DIFFERS = pattern(r"rand\w*|choices?|sample|normal|uniform|\w*worker\w*|\w*shard\w*|\w*queue\w*|recv|reset|rank")


class IterableDatasetWorkers(SourceRule):
    """Every worker of the loader reads the whole iterable data set: each sample comes several times in an epoch.

    Why: each worker process iterates over a copy of its own. Nothing divides the samples among them as a sampler does for
        other data sets: an epoch is `num_workers` times as long, and neighbouring batches hold the same samples.
    Fix: ask `torch.utils.data.get_worker_info()` in `__iter__` and give each worker its part.
    Ignore: when the data set gives other samples to each reader, as a queue or a random generator does.
    Reported: https://github.com/pytorch/pytorch/issues/30599, https://github.com/espnet/espnet/pull/2081
    """

    code, severity, certain, topic = "ML159", Severity.WARNING, True, "data"
    words = (("IterableDataset", "num_workers"),)
    bad = (
        """
        from torch.utils.data import DataLoader, IterableDataset

        class Lines(IterableDataset):
            def __init__(self, path):
                self.path = path

            def __iter__(self):
                with open(self.path) as file:
                    for line in file:
                        yield line.split()

        loader = DataLoader(Lines("train.txt"), batch_size=32, num_workers=4)
        """,
    )
    good = (
        """
        from torch.utils.data import DataLoader, IterableDataset, get_worker_info

        class Lines(IterableDataset):
            def __iter__(self):
                info = get_worker_info()
                for number, line in enumerate(open("train.txt")):
                    if info is None or number % info.num_workers == info.id:
                        yield line

        loader = DataLoader(Lines(), batch_size=32, num_workers=4)
        """,
        """
        from torch.utils.data import DataLoader, IterableDataset

        class Lines(IterableDataset):
            def __iter__(self):
                yield from open("train.txt")

        loader = DataLoader(Lines(), batch_size=32, num_workers=1)
        """,
        """
        import torch
        from torch.utils.data import DataLoader, IterableDataset

        class Noise(IterableDataset):
            def __iter__(self):
                while True:
                    yield torch.randn(8)

        loader = DataLoader(Noise(), batch_size=32, num_workers=4)
        """,
        """
        from torch.utils.data import DataLoader, IterableDataset

        class Lines(IterableDataset):
            def __iter__(self):
                yield from open(self.path)

        def choose(worker):
            torch.utils.data.get_worker_info().dataset.path = f"part{worker}.txt"

        loader = DataLoader(Lines(), batch_size=32, num_workers=4, worker_init_fn=choose)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loader in script.loaders:
            workers = loader.call.argument(5, "num_workers")
            several = workers is not None and isinstance(workers.constant, int) and workers.constant > 1
            if (
                several
                and workers is not None
                and not _prepared(loader)
                and any(n in ITERABLE for n in loader.datasets)
            ):
                own = [f for f in script.functions if f.owner is not None and f.owner in loader.datasets]
                if any(f.name.endswith("__iter__") for f in own) and not any(_differs(f) for f in own):
                    name = loader.datasets[0]
                    yield self.at(
                        loader, f"reads `{name}` in {workers.constant} workers, and each gives all of its samples"
                    )


def _prepared(loader: Loader) -> bool:
    return loader.call.unpacks or loader.call.argument(None, "worker_init_fn") is not None or loader.owned


def _differs(function: Function) -> bool:
    names = (part.method for part in function.values if part.name)
    return any(DIFFERS.fullmatch(name) for name in (*names, *(parameter.name for parameter in function.parameters)))
