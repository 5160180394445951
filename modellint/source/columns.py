"""The tensors of which a loader's batches are rows, where the data set is written in the code."""

from __future__ import annotations

from .resolve import Resolver
from .scope import Source


class Columns:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def of(self, part: Source) -> tuple[Source, bool] | None:
        """What a part of a batch, `batch[i]` or the i-th name of a loop over a loader, is put together of.

        A tensor of which it has some rows, or (True) what each sample holds.
        """
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

    def _column(self, dataset: Source, index: int) -> tuple[Source, bool] | None:
        parts, part = dataset.value.arguments, dataset.value.base or dataset.value
        if part.method in ("random_split", "Subset") and part.arguments:
            whole = self.resolver.of(dataset.of(part.arguments[0]))
            return self._column(whole[0], index) if len(whole) == 1 else None
        if dataset.value.method == "TensorDataset":
            known = index < len(parts) and not dataset.value.unpacks
            return (dataset.of(parts[index]), False) if known else None
        for script, class_ in self.resolver.members.classes(dataset):
            for frame in self.resolver.members.methods(script, class_, "__getitem__", dataset):
                if len(frame.function.parameters) == 2:
                    return _of_sample(self.resolver.results.returned(frame), index)
        return None


def _of_sample(samples: list[Source], index: int) -> tuple[Source, bool] | None:
    """`return self.x[i], self.y[i]`."""
    parts = samples[0].value.arguments if len(samples) == 1 and samples[0].value.kind == "tuple" else ()
    return (samples[0].of(parts[index]), True) if index < len(parts) else None
