"""Which losses take the scores that a value is: the same value, or what the same layer or model gives another time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from .code import Value
from .facts import Loss
from .resolve import Resolver
from .roots import Roots
from .scope import Source
from .script import Script

LOSSES = frozenset({"BCEWithLogitsLoss", "BCELoss", "CrossEntropyLoss"})
LIBRARIES = (
    "torch.nn.",
    "torchvision.models.",
    "timm.",
    "segmentation_models_pytorch.",
)  # the same scores in both modes
Key = tuple[object, object]  # a value and its frame, or where a layer or model is made; or another key and a part of it


class Scored:
    def __init__(self, resolver: Resolver, losses: Callable[[Script], Iterable[Loss]]) -> None:
        self.resolver = resolver
        self.roots = Roots(resolver)
        self.losses = losses
        self._known: Mapping[Key, tuple[Loss, ...]] | None = None

    def any(self) -> bool:
        """Whether there is any such loss."""
        return bool(self._taken())

    def of(self, root: Source, *, squashed: bool = False) -> tuple[Loss, ...]:
        """The losses of a value that was not moved or arranged; of one that is `squashed`, those of what its sigmoid is given."""
        given = (root.value.argument(0) or root.value.receiver) if squashed else None
        inner = self.roots.of(root.of(given)) if given is not None else [root]
        keys = (key for each in inner for key in self._keys(each))
        return tuple(dict.fromkeys(loss for key in keys for loss in self._taken().get(key, ())))

    def _taken(self) -> Mapping[Key, tuple[Loss, ...]]:
        if self._known is None:
            found: dict[Key, list[Loss]] = defaultdict(list)
            for loss, source in self._inputs():
                for key in {key for root in self.roots.of(source) for key in self._keys(root)}:
                    found[key].append(loss)
            self._known = {key: tuple(losses) for key, losses in found.items()}
        return self._known

    def _inputs(self) -> Iterator[tuple[Loss, Source]]:
        """What each loss of the scripts is given."""
        for script in self.resolver.project.given:
            calls = {id(loss.call): loss for loss in self.losses(script) if loss.kind in LOSSES}
            for function in script.functions if calls else ():
                for at, event in enumerate(function.events):
                    loss = calls.get(id(event.value)) if event.kind == "call" else None
                    given = loss.call.argument(0, "input") if loss is not None else None
                    if loss is not None and given is not None:
                        yield loss, Source(given, self.resolver.frame(script, function), at)

    def _keys(self, root: Source, seen: tuple[Value, ...] = ()) -> Iterator[Key]:
        """A name that its function never binds is the same value everywhere in it; `seen` are the items on the way here."""
        value = root.value
        if value.kind in ("name", "unknown"):
            if value.name not in self.resolver.assignments(root.frame.function):
                yield value.name, root.frame
            return
        yield value, root.frame
        if value.kind == "item" and value.base is not None and value not in seen:
            wholes = self.roots.of(root.of(value.base))
            keys = (key for whole in wholes for key in self._keys(whole, (*seen, value)))
            yield from ((key, str(value.arguments[0])) for key in keys)
        callees = self.resolver.calls.callees(root) if value.kind == "call" else []
        if len(callees) == 1 and callees[0].made is not None and callees[0].name.startswith(LIBRARIES):
            yield callees[0].made.place, ""
