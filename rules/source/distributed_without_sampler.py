"""ML403."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Value
from modellint.source.facts import Loader

WRAPS = frozenset(
    "torch.nn.parallel.DistributedDataParallel torch.nn.parallel.distributed.DistributedDataParallel "
    "apex.parallel.DistributedDataParallel".split()
)
SPREADS = pattern(
    r"rank|world|shard|split_by|num_replicas|distributed_sampler|Distributed\w*Sampler|replica", re.IGNORECASE
)
LIBRARIES = ("torchvision.", "torchaudio.", "torch.utils.data.", "object")
TRANSFORMS = r"Resized|Crop|Horizontal|Vertical|Rotat|Affine|Eras|Perspective|Gray|Apply|Order|Choice|Color|Invert"
MADE = pattern(
    rf"torch\.(rand|randn|randint|zeros|ones|arange)|FakeData|Synthetic|Dummy|Random(?!{TRANSFORMS})|Fake",
    re.IGNORECASE,
)


class DistributedWithoutSampler(SourceRule):
    """The model trains on several processes, and each of them goes through all the data.

    Why: DistributedDataParallel averages gradients and knows nothing of the data. Without a DistributedSampler every process
        draws from the whole data set: an epoch costs as many passes over it as there are processes, schedules and early
        stopping count epochs that are several, and with one seed on all ranks all of them see the same batch.
    Fix: `DataLoader(data, sampler=DistributedSampler(data))`, with `sampler.set_epoch(epoch)` in each epoch.
    Ignore: where the data set itself gives each process its own part.
    Reported: https://github.com/clovaai/voxceleb_trainer/issues/98, https://github.com/NVIDIA/DeepLearningExamples/pull/622
    """

    code, severity, certain, topic = "ML403", Severity.WARNING, True, "distributed"
    words = (("DistributedDataParallel", "DataLoader(", "backward("),)
    bad = (
        """
        from torch.nn.parallel import DistributedDataParallel as DDP
        from torch.utils.data import DataLoader

        torch.distributed.init_process_group("nccl")
        model = DDP(nn.Linear(4, 2).cuda())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader = DataLoader(Images("train"), batch_size=32, shuffle=True)
        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        from torch.nn.parallel import DistributedDataParallel as DDP
        from torch.utils.data import DataLoader, DistributedSampler
        from torchvision import datasets, transforms as T

        torch.distributed.init_process_group("nccl")
        train_set = datasets.ImageFolder("train", T.Compose([T.RandomResizedCrop(224), T.ToTensor()]))
        val_set = datasets.ImageFolder("val", T.Compose([T.CenterCrop(224), T.ToTensor()]))
        loader = DataLoader(train_set, batch_size=32, shuffle=True)
        held_out = DataLoader(val_set, batch_size=32, sampler=DistributedSampler(val_set, shuffle=False))
        model = DDP(nn.Linear(4, 2).cuda())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
    )
    good = (
        """
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel
        from torch.utils.data import DataLoader, Dataset

        class Files(Dataset):
            def __init__(self, files):
                self.files = files[dist.get_rank() :: dist.get_world_size()]

            def __getitem__(self, index):
                return torch.load(self.files[index])

        loader = DataLoader(Files(files), batch_size=8, shuffle=True)
        model = DistributedDataParallel(Net().cuda())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        from torch.nn.parallel import DistributedDataParallel
        from torch.utils.data import DataLoader, Subset

        kept = list(range(len(data)))[rank::world_size]
        loader = DataLoader(Subset(data, kept), batch_size=8, shuffle=True)
        model = DistributedDataParallel(Net().cuda())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        from torch.nn.parallel import DistributedDataParallel as DDP
        from torch.utils.data import DataLoader, DistributedSampler

        model = DDP(nn.Linear(4, 2).cuda())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        data = Images("train")
        sampler = DistributedSampler(data) if distributed else None
        loader = DataLoader(data, batch_size=32, sampler=sampler, shuffle=sampler is None)
        for epoch in range(10):
            sampler.set_epoch(epoch)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        from torch.nn.parallel import DistributedDataParallel as DDP
        from torch.utils.data import DataLoader

        model = DDP(nn.Linear(4, 2).cuda())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader = DataLoader(Images("train", part=local_rank, of=world_size), batch_size=32, shuffle=True)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        from torch.nn.parallel import DistributedDataParallel as DDP
        from torch.utils.data import DataLoader, TensorDataset

        model = DDP(nn.Linear(4, 2))  # how fast is a step?
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader = DataLoader(TensorDataset(torch.randn(100, 4), torch.randint(2, (100,))), batch_size=32)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        wraps = [call for call in script.calls if call.name in WRAPS]
        if not wraps:
            return
        others = any(call.method == "DistributedSampler" for call in script.calls)  # maybe of another loader
        for loader in script.loaders:
            if (
                loader.loop is not None
                and (loader.shuffled is True or not others)
                and not loader.owned
                and not loader.samplers
                and not self._spreads(script, loader)
            ):
                known = {class_.name for class_ in script.classes}
                sure = all(name in known or name.startswith(LIBRARIES) for name in loader.datasets)
                yield self.at(
                    loader,
                    "gives each process of the distributed training all the data: no sampler spreads it",
                    certain=sure and not others,
                )

    def _spreads(self, script: Script, loader: Loader) -> bool:
        """Whether anything else may give each process its own part, or the data are made up."""
        call = loader.call
        told = any(call.argument(None, name) is not None for name in ("sampler", "batch_sampler"))
        data: list[Value] = [*loader.data, *([given] if (given := call.argument(0, "dataset")) is not None else [])]
        named = {p.name for value in data for p in value.within() if p.kind == "name"}
        data += [e.value for f in script.functions for e in f.events if e.name in named and e.value is not None]
        data += [c for f in script.functions if f.owner in loader.datasets for c in f.calls]
        parts = [part for value in data for part in value.within()]
        names = [*(p.name for p in parts), *(name for p in parts for name, _ in p.keywords), *loader.datasets]
        texts = [str(part.constant) for part in parts if isinstance(part.constant, str)]
        made = any(MADE.search(name) for name in names)
        iterable = any(name.endswith(("IterableDataset", "WebDataset")) for name in loader.datasets)
        iterable = iterable or (
            "" in loader.datasets and loader.shuffled is not True
        )  # what is iterable cannot be shuffled
        return told or call.unpacks or made or iterable or any(SPREADS.search(name) for name in (*names, *texts))
