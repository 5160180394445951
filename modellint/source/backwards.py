"""Calls of backward(): what the loss was computed from, which terms it is the sum of, and whether it is scaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .branches import arms
from .code import Value
from .facts import Act, Summand
from .forwards import may_be_model
from .lineage import Lineage
from .objective import Objective
from .resolve import Resolver
from .roles import Roles
from .scope import Source
from .terms import Terms

CUTTING = frozenset({"detach", "data", "no_grad", "inference_mode", "numpy"})


class Backwards:
    def __init__(self, resolver: Resolver, lineage: Lineage) -> None:
        self.roles = Roles(resolver)
        self.lineage = lineage
        self.terms = Terms(lineage)
        self.beyond = Lineage(resolver, beyond=True)
        self.objective = Objective(lineage)

    def of(self, source: Source, owner: str) -> Act:
        """`owner` is the framework that the call belongs to, if it is not torch's own."""
        call = source.value
        given = call.argument(0, "loss") if owner or call.name.startswith("torch.") else call.receiver
        if given is None:
            return Act("backward", call, owner=owner)
        loss = source.of(given)
        origins = self.lineage.of(loss)
        scaled = any(self._is_scaling(made) and _always(made, source) for made in origins)
        terms = tuple(self._learned(loss))
        summands = tuple(self.objective.of(loss))
        behind = tuple(self._behind(loss, origins, summands))
        values = tuple([made.value for made in origins])
        return Act("backward", call, (), scaled, owner, origins=values, behind=behind, summands=summands, terms=terms)

    def _learned(self, loss: Source) -> Iterator[str]:
        """The terms of a loss, by their places, without those that no model has a part in."""
        terms = list(self.terms.of(loss))
        return (term.place for term in terms if len(terms) == 1 or self._is_learned(term.made))

    def _behind(self, loss: Source, origins: Sequence[Source], summands: Sequence[Summand]) -> Iterator[Value]:
        cut = any(part.cut is not None for part in summands)
        if cut or not CUTTING.isdisjoint(loss.frame.script.attributes):
            reached = {id(made.value) for made in origins}
            yield from (made.value for made in self.beyond.of(loss) if id(made.value) not in reached)

    def _is_learned(self, made: Source) -> bool:
        """Whether a model or a loss is on the way to a value."""
        calls = [origin for origin in self.lineage.of(made) if origin.value.kind == "call"]
        return any(o.value.name.startswith("torch.nn.functional.") for o in calls) or any(map(self._is_trained, calls))

    def _is_trained(self, source: Source) -> bool:
        call = source.value
        called = source.of(Value("name", call.name, location=call.location))
        known = call.base is None and may_be_model(call.name)
        return known and not {"model", "loss"}.isdisjoint(self.roles.of(called))

    def _is_scaling(self, made: Source) -> bool:
        call = made.value
        receiver = call.receiver if call.method == "scale" else None
        return receiver is not None and "scaler" in self.roles.of(made.of(receiver))


def _always(made: Source, source: Source) -> bool:
    """Whether a value that was made on the way to another is made on every way that leads there."""
    arms_made = arms(made.frame.function, made.frame.function.events[made.at or 0].block)
    return set(arms_made) <= set(arms(source.frame.function, source.frame.function.events[source.at or 0].block))
