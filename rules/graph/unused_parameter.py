"""ML207."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from modellint import Diagnostic, Evidence, Graph, GraphRule, Location, Passed, Severity
from modellint.core.pattern import pattern
from modellint.core.record import replace
from modellint.graph.node import Parameter
from modellint.graph.walk import learned_parameters

NUMBER = pattern(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)")


class UnusedParameter(GraphRule):
    """A parameter that is meant to train never reaches the loss.

    Why: a layer that `__init__` makes and `forward` forgets, or whose result is overwritten before anybody reads it,
        stays as it was initialised while everything looks as if it trained; under DistributedDataParallel it is an error.
    Fix: use the layer's result in `forward`, or delete the layer; `requires_grad_(False)` says that it is meant to rest.
    Ignore: when the layer has its turn in another phase of the training. Experts, branches and layers that are dropped
        at random are only noted: another batch may reach them.
    Reported: https://github.com/tianzhi0549/FCOS/issues/217
    """

    code, severity, topic = "ML207", Severity.WARNING, "gradients"
    explains = ("zero-gradients",)
    bad = (
        Graph.of(
            "input x", "linear body", "linear head", "loss cross_entropy", "parameter extra.weight unreached uncalled"
        ),
        Graph.of("input x", "linear body", "linear head", "loss cross_entropy", "parameter extra.weight"),
        Graph.of("input x", "linear used", "loss mse_loss", "parameter layers.0.weight", "parameter layers.1.weight"),
    )
    good = (
        Graph.of("input x", "linear body", "linear head", "loss cross_entropy"),
        Graph.of("input x", "linear head", "loss cross_entropy", "parameter extra.weight frozen"),
        Graph.of("input x", "linear head", "loss cross_entropy", "parameter critic.weight reached"),  # by another loss
        Graph.of("input x reached", "linear head reached", "loss cross_entropy", "parameter teacher.weight"),
        Graph.of("input x", "linear teacher constant", "detach detach", "linear head", "loss cross_entropy"),  # ML210's
        Graph.of("input x", "loss cross_entropy", "parameter body.weight unreached", "parameter head.weight unreached"),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        unused, learned = _unused(graph), learned_parameters(graph)
        used = [parameter.name for parameter in graph.parameters if parameter not in unused]
        if not used:  # the loss itself is cut off: other rules say where
            return
        for owner, group in groupby(unused, key=lambda parameter: _owner(parameter, used)):
            yield self._finding(owner, tuple(group), learned, graph[graph.output].location)
        if graph.parameters and not unused:
            yield self.passed("every parameter that is meant to train reaches the loss")

    def _finding(self, owner: str, group: tuple[Parameter, ...], learned: Iterable[str], loss: Location) -> Diagnostic:
        first, routed = group[0], any(_alternates(parameter, learned) for parameter in group)
        names = ", ".join(f"`{parameter.name}`" for parameter in group[:3])
        names += f" and {len(group) - 3} more" if len(group) > 3 else ""
        what = "is never called" if not any(parameter.called for parameter in group) else "has no part in the loss"
        message = f"`{owner}` {what}: {names}" if owner else f"{names} never reaches the loss"
        if routed:
            message += "; its siblings reach the loss, so it may be a branch that these batches did not take"
        measured = first.reached is False
        return self.at(
            replace(first.location if first.location.path else loss, module=owner or None),
            message,
            severity=Severity.NOTE if routed or first.foreign else None,
            measured=measured and not routed,
            evidence=[Evidence("gradients that reached it in the watched steps", 0, 1, unit="count")]
            if measured
            else [],
        )


def _unused(graph: Graph) -> list[Parameter]:
    """Parameters that should train and that nothing which reaches the loss reads.

    Where a run was watched, only those that some optimizer holds and no backward() reached.
    """
    read = {name for node in graph for name in node.parameters}
    watched = any(parameter.reached is not None for parameter in graph.parameters)
    idle = (parameter for parameter in graph.parameters if parameter.requires_grad and parameter.name not in read)
    return [parameter for parameter in idle if not watched or parameter.reached is False]


def _owner(parameter: Parameter, used: Iterable[str]) -> str:
    """The outermost module of which nothing is used."""
    parts = parameter.name.split(".")[:-1]
    paths = [".".join(parts[: count + 1]) for count in range(len(parts))]
    return next((path for path in paths if not any(name.startswith(f"{path}.") for name in used)), "".join(paths[-1:]))


def _alternates(parameter: Parameter, learned: Iterable[str]) -> bool:
    """Whether the loss reaches the same parameter of another entry of a list: an expert, a dropped layer."""
    own = NUMBER.sub("*", parameter.name)
    return own != parameter.name and any(NUMBER.sub("*", name) == own for name in learned)
