"""ML320."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure import growth


def _run(alive: Sequence[int], sizes: Sequence[int] = ()) -> Run:
    sizes = sizes or [40] * len(alive)
    pairs = zip(alive, sizes, strict=True)
    return Run(tuple(Step(i, graphs_alive=kept, graph_size=size) for i, (kept, size) in enumerate(pairs)))


class MemoryGrowth(RuntimeRule):
    """Each step leaves its graph in memory, or goes back through those of all steps before.

    Why: a loss that is summed or stored as a tensor holds the graph that made it; a state that is carried on without
        detach() makes every backward() longer than the last. Memory and time grow until the run is killed.
    Fix: keep numbers, not tensors: `total += loss.item()`, or `loss.detach()` where a transfer would cost; detach a
        recurrent state between two steps.
    Ignore: when the sum is differentiated once at the end of a few steps.
    Thresholds: over at least 6 steps the number of graphs that are still held grows with each step, or the
        graph of the loss has more operations at each step and at the last one `longer` = 3 times those of the first.
        A graph that is let go is gone at the next step in all healthy runs.
    Reported: https://github.com/BatsResearch/labelmodels/issues/4
    """

    code, severity, topic = "ML320", Severity.WARNING, "memory"
    needs = "the graph of a loss at six steps"
    longer = 3.0
    bad = (_run([1, 2, 3, 4, 5, 6, 7, 8]), _run([1, 2, 3, 4, 4, 4], [40, 70, 100, 130, 160, 190]))
    good = (
        _run([1] * 8),
        _run([1, 2, 3, 3, 3, 3, 3, 3]),  # three losses of an adversarial game
        _run([1, 2, 3, 4, 1, 2, 3, 4]),  # summed over four micro-batches
        _run([1] * 8, [40, 52, 44, 61, 38, 70, 55, 90]),  # sentences of all lengths
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        alive = next(filter(growth.grows, growth.held(run)), None)
        longer = next((sizes for sizes in growth.sizes(run) if growth.grows(sizes, self.longer)), None)
        if alive:
            message = f"the graphs of {alive[-1]} steps are still in memory"
            yield self._finding(run, message, "graphs that are still held", alive)
        elif longer:
            message = "each backward() goes back through the steps before"
            yield self._finding(run, message, "operations in the graph of the loss", longer)
        elif any(growth.held(run)):
            yield self.passed("the graph of each step is let go")

    def _finding(self, run: Run, message: str, claim: str, series: tuple[int, ...]) -> Diagnostic:
        return self.convict(run.place("loss"), message, Evidence(claim, series[-1], series[0], series=series))
