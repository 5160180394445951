"""The tensors of which a loader's batches are rows, where the data set is written in the code."""

from __future__ import annotations

from .resolve import Resolver
from .scope import Source


class Columns:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def of(self, part: Source) -> Source | None:
        """The tensor of which a part of a batch, `batch[i]` or the i-th name of a loop over a loader, has some rows."""
        batch, index = part.value.base, part.value.arguments[0].constant
        if batch is None or batch.base is None or not isinstance(index, int):
            return None
        loaders = self.resolver.of(part.of(batch.base))
        if len(loaders) != 1 or loaders[0].value.method != "DataLoader":
            return None
        given = loaders[0].value.argument(0, "dataset")
        datasets = self.resolver.of(loaders[0].of(given)) if given is not None else []
        if len(datasets) != 1 or loaders[0].value.argument(None, "collate_fn") is not None:
            return None
        return self._column(datasets[0], index)

    def _column(self, dataset: Source, index: int) -> Source | None:
        parts = dataset.value.arguments
        if dataset.value.method == "TensorDataset":
            return dataset.of(parts[index]) if index < len(parts) and not dataset.value.unpacks else None
        for script, class_ in self.resolver.members.classes(dataset):
            for frame in self.resolver.members.methods(script, class_, "__getitem__", dataset):
                if len(frame.function.parameters) == 2:
                    counted = frame.function.parameters[1].name
                    return _column_of(self.resolver.results.returned(frame), index, counted)
        return None


def _column_of(samples: list[Source], index: int, counted: str) -> Source | None:
    """`return self.x[counted], self.y[counted]`."""
    if len(samples) != 1 or samples[0].value.kind != "tuple" or index >= len(samples[0].value.arguments):
        return None
    part = samples[0].value.arguments[index]
    taken = part.kind == "item" and part.base is not None and part.arguments[0].name == counted
    return samples[0].of(part.base) if taken and part.base is not None else None
