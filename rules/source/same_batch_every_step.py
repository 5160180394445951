"""ML133."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.source.facts import Act, Loader


def _run(*labels: tuple[int, ...]) -> Run:
    return Run(tuple(Step(i, labels=given) for i, given in enumerate(labels)))


class SameBatchEveryStep(SourceRule):
    """Each step begins the data anew and takes its first batch.

    Why: `next(iter(loader))` makes a new iterator each time. Without shuffling every step sees the same batch, and the
        model learns that batch by heart; with shuffling each step pays for starting the loader and its workers, and
        "an epoch" no longer means that every sample was seen.
    Fix: loop over the loader, or make the iterator once before the loop and call `next()` on it.
    Ignore: when the loader has a single batch, or when over-fitting one batch is the test that is meant.
    Thresholds: a run confirms it when at least `steps` = 3 steps had the same inputs; where they were not
        seen, the same labels, `rows` = 8 or more.
    Reported: https://github.com/leohsuofnthu/Pytorch-IterativeFCN/issues/7, https://github.com/skhu101/GM-NAS/issues/4
    """

    code, severity, topic = "ML133", Severity.WARNING, "data"
    words = (("next(iter(", ".backward("),)
    steps, rows = 3, 8
    bad = (
        """
        loader = torch.utils.data.DataLoader(dataset, batch_size=32)
        for step in range(1000):
            x, y = next(iter(loader))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader

        class Trainer:
            def __init__(self, data):
                self.loader = DataLoader(data, 32, shuffle=True, num_workers=4)

            def batch(self):
                return next(iter(self.loader))

            def fit(self, model, optimizer):
                for step in range(1000):
                    x, y = self.batch()
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
        """,
    )
    good = (
        """
        loader = torch.utils.data.DataLoader(dataset, batch_size=8)
        x, y = next(iter(loader))  # one step, to see that it runs
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        """,
        """
        loader = torch.utils.data.DataLoader(dataset, batch_size=32)
        x, y = next(iter(loader))  # does the model learn one batch at all?
        for step in range(1000):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True)
        batches = iter(loader)
        for step in range(1000):
            try:
                x, y = next(batches)
            except StopIteration:
                batches = iter(loader)
                x, y = next(batches)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True)
        samples = torch.utils.data.DataLoader(validation, batch_size=8)
        for step, (x, y) in enumerate(loader):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            show(model(next(iter(samples))[0]))
        """,
        """
        loader = torch.utils.data.DataLoader(dataset, batch_size=len(dataset))
        for step in range(1000):  # the whole data in one batch
            x, y = next(iter(loader))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
    )
    confirmed_by = _run(*[(3, 1, 4, 1, 5, 9, 2, 6)] * 4)
    not_confirmed_by = _run((3, 1, 4, 1, 5, 9, 2, 6), (5, 3, 5, 8, 9, 7, 9, 3), (2, 3, 8, 4, 6, 2, 6, 4))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in (loop for loop in script.training_loops if loop.nest):
            for first in loop.of("first"):
                used = (b for b in loop.of("backward") if any(origin is first.call for origin in b.origins))
                if any(set(first.branches) <= set(backward.branches) for backward in used):
                    yield from self._judge(first, [made for made in script.loaders if _makes(made, first)])

    def _judge(self, first: Act, loaders: list[Loader]) -> Iterator[Diagnostic]:
        sizes = [made.call.argument(1, "batch_size") for made in loaders]
        if any(part.name == "len" for size in sizes if size is not None for part in size.within()):
            return
        ordered = bool(loaders) and all(m.shuffled is False and not m.samplers and not m.owned for m in loaders)
        plain = ordered and not any("Iterable" in name for made in loaders for name in made.datasets)
        message = "takes the first batch of the data anew in each step"
        yield self.at(first, message + (", which is not shuffled" if plain else ""), certain=plain)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        known: list[object] = [step.batch.fingerprint for step in run.steps if step.batch]
        batches = known or [step.labels for step in run.steps if len(step.labels) >= self.rows]
        if len(batches) < self.steps:
            return None
        return Evidence("different batches among the steps", len(set(batches)), 1, holds=len(set(batches)) == 1)


def _makes(made: Loader, first: Act) -> bool:
    place = made.location
    return any(subject.endswith(f">{place.path}:{place.line}:{place.column}") for subject in first.subjects)
