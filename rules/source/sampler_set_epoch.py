"""ML121."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import lookup
from modellint.source.facts import Loader, Sampler

SAMPLERS = ("torch.utils.data.DistributedSampler", "torch.utils.data.distributed.DistributedSampler")


class SamplerSetEpoch(SourceRule):
    """A DistributedSampler is never told the epoch: every epoch has the same order.

    Why: the sampler shuffles with a generator that is seeded by its epoch number, and that number stays 0. The batches
        are the same in every epoch, and each process sees only its own share of the data for the whole training.
    Fix: call `sampler.set_epoch(epoch)` at the start of each epoch.
    Ignore: when the data is gone through only once, or a framework calls it.
    Reported: https://github.com/rosinality/stylegan2-pytorch/issues/319,
        https://github.com/kan-bayashi/ParallelWaveGAN/issues/177
    """

    code, severity, certain, topic = "ML121", Severity.WARNING, True, "data"
    words = ("DistributedSampler", "set_epoch")
    bad = (
        """
        from torch.utils.data import DataLoader, DistributedSampler

        sampler = DistributedSampler(dataset)
        loader = DataLoader(dataset, batch_size=32, sampler=sampler)
        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        import torch

        class Trainer:
            def __init__(self, data, world):
                sampler = torch.utils.data.distributed.DistributedSampler(data, shuffle=True) if world > 1 else None
                self.loader = torch.utils.data.DataLoader(data, shuffle=sampler is None, sampler=sampler)
                self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)

            def epoch(self):
                for x, y in tqdm(self.loader):
                    self.optimizer.zero_grad()
                    self.criterion(self.model(x), y).backward()
                    self.optimizer.step()

            def fit(self):
                for epoch in range(100):
                    self.epoch()
        """,
        """
        from torch.utils import data

        def batches(dataset):
            loader = data.DataLoader(dataset, sampler=data.distributed.DistributedSampler(dataset, shuffle=True))
            while True:
                yield from loader
        """,
    )
    good = (
        """
        from torch.utils.data import DataLoader
        from torch.utils.data.distributed import DistributedSampler

        for epoch in range(10):
            part = Pregenerated(epoch)  # other data in each epoch
            sampler = DistributedSampler(part)
            for x, y in DataLoader(part, sampler=sampler):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader, DistributedSampler

        loader = DataLoader(dataset, sampler=DistributedSampler(dataset))
        for epoch in range(10):
            if distributed:
                loader.sampler.set_epoch(epoch)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader, DistributedSampler

        loader = DataLoader(dataset, sampler=DistributedSampler(dataset, shuffle=False))
        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        from accelerate import Accelerator
        from torch.utils.data import DataLoader, DistributedSampler

        accelerator = Accelerator()
        loader = accelerator.prepare(DataLoader(dataset, sampler=DistributedSampler(dataset)))
        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                accelerator.backward(F.cross_entropy(model(x), y))
                optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader, DistributedSampler

        def evaluate(dataset):
            sampler = DistributedSampler(dataset, num_replicas=world, rank=rank, shuffle=False)
            return [model(x) for x in DataLoader(dataset, sampler=sampler)]
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        trained = [loader for loader in script.loaders if loader.loop is not None]  # if any, the others evaluate
        for loader in trained or script.loaders:
            for sampler in loader.samplers if not loader.reseeded and not loader.owned else ():
                own = sampler.name in SAMPLERS and sampler.shuffled and sampler.location.path == script.path
                if own and not _of_new_data(script, sampler):
                    yield self._found(loader, sampler)

    def _found(self, loader: Loader, sampler: Sampler) -> Diagnostic:
        again = loader.loop is not None and loader.loop.around > 0
        message = "draws the same order in every epoch: nothing calls its `set_epoch`"
        return self.at(sampler, message, certain=again)


def _of_new_data(script: Script, sampler: Sampler) -> bool:
    """Whether it is made in each epoch, for the data of that epoch."""
    function, given = lookup.function(script, sampler.location), sampler.call.argument(0, "dataset")
    if function is None or given is None:
        return False
    for event in function.events:
        if event.kind == "assign" and event.name == given.name:
            loops = [function.blocks[b] for b in function.enclosing(event.block) if function.blocks[b].is_loop]
            return any(lookup.holds(loop.location, sampler.location) for loop in loops)
    return False
