"""ML152."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit


class ShuffleWithSampler(SourceRule):
    """A loader is told to shuffle and is given a sampler besides: it refuses both together.

    Why: the sampler decides the order. `DataLoader` raises `ValueError: sampler option is mutually exclusive with shuffle`;
        where the sampler is made for distributed training only, the script works on one process and stops on several.
    Fix: leave `shuffle` out, or write `shuffle=sampler is None`.
    Ignore: never.
    Reported: https://github.com/ultralytics/yolov3/issues/231, https://github.com/NVIDIA/tacotron2/issues/168
    """

    code, severity, certain, topic = "ML152", Severity.ERROR, True, "data"
    words = ("DataLoader(",)
    bad = (
        """
        from torch.utils.data import DataLoader, DistributedSampler

        loader = DataLoader(dataset, batch_size=32, shuffle=True, sampler=DistributedSampler(dataset))
        """,
        """
        import torch

        def loaders(dataset, distributed):
            if distributed:
                sampler = torch.utils.data.distributed.DistributedSampler(dataset)
            else:
                sampler = None
            return torch.utils.data.DataLoader(dataset, 64, True, sampler)
        """,
    )
    fixed = (
        """
        from torch.utils.data import DataLoader, DistributedSampler

        loader = DataLoader(dataset, batch_size=32, sampler=DistributedSampler(dataset))
        """,
        None,
    )
    good = (
        """
        from torch.utils.data import DataLoader, DistributedSampler

        sampler = DistributedSampler(dataset) if distributed else None
        loader = DataLoader(dataset, shuffle=(sampler is None), sampler=sampler)
        """,
        """
        from torch.utils.data import DataLoader, DistributedSampler

        if distributed:
            sampler, shuffle = DistributedSampler(dataset), False
        else:
            sampler, shuffle = None, True
        loader = DataLoader(dataset, shuffle=shuffle, sampler=sampler)
        """,
        """
        from torch.utils.data import DataLoader

        def loader(dataset, sampler=None):
            return DataLoader(dataset, shuffle=True, sampler=sampler)
        """,
    )
    suspected = (
        """
        def loader(data, shuffle=True, **options):
            sampler = options.get("sampler", None)
            return torch.utils.data.DataLoader(data, sampler=sampler, shuffle=True)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loader in script.loaders:
            made = [sampler for sampler in loader.samplers if sampler.call.kind == "call"]
            if loader.shuffled and made:
                when = " on some paths" if loader.sometimes or len(made) < len(loader.samplers) else ""
                message = f"is told to shuffle and given the sampler `{made[0].call.method}`{when}"
                yield self.at(
                    loader, message, certain=all(s.call.method[:1].isupper() for s in made)
                )  # else maybe None

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Where there is a sampler on every path, it decides alone."""
        for loader in script.loaders:
            given = loader.call.argument(None, "shuffle")
            if loader.location == finding.location and given is not None and not loader.sometimes:
                return Fix((edit.remove(given),))
        return None
