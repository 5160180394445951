"""ML464."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Function, Value

NAMED = frozenset({"name", "constant"})

# of the same first argument
TWICE = pattern(rb"(?<!def )\b(\w*(?:oss|ntropy|riterion))\(\s*(?!self\b)([\w.]+),(?s:.){0,800}?\1\(\s*\2,")


class TermAddedTwice(SourceRule):
    """The same loss of the same tensors is added to itself: of two terms one was copied and not changed.

    Why: what was to be the other direction, head or view is never trained; the loss that is meant for it weighs double elsewhere.
    Fix: give the second term what it is about.
    Ignore: never; write `2 *` where double weight is meant.
    Reported: https://github.com/microsoft/protein-frame-flow/issues/23
    """

    code, severity, certain, topic = "ML464", Severity.WARNING, True, "loss"
    words = tuple((name, TWICE) for name in ("oss(", "cross_entropy(", "criterion("))
    bad = (
        """
        def clip_loss(logits, labels):
            return (F.cross_entropy(logits, labels) + F.cross_entropy(logits, labels)) / 2
        """,
        """
        criterion = nn.CrossEntropyLoss()
        for a, b, y in loader:
            first, second = model(a, b)
            loss_first = criterion(first, y)
            loss_second = criterion(first, y)
            loss = loss_first + 0.5 * loss_second
            loss.backward()
        """,
    )
    good = (
        """
        def clip_loss(logits, labels):
            return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2
        """,
        """
        for x, y in loader:  # with another dropout each time
            loss = F.cross_entropy(model(x), y) + F.cross_entropy(model(x), y)
            loss.backward()
        """,
        """
        for x, y in loader:
            out = model(x)
            first = F.cross_entropy(out, y)
            out = model(augment(x))
            second = F.cross_entropy(out, y)
            (first + second).backward()
        """,
        """
        for x, y in loader:
            out = model(x)
            if mixed:
                loss = F.cross_entropy(out, y)
            else:
                loss = F.cross_entropy(out, y)
            total = loss + total
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        losses = {id(loss.call) for loss in script.losses if loss.kind and loss.certain}
        for function in script.functions if losses else ():
            for event in function.events:
                total = event.value if event.kind in ("assign", "return", "call") else None
                for part in total.within() if total is not None else ():
                    if part.kind == "operation" and part.name == "+":
                        yield from self._judge(function, part, losses)

    def _judge(self, function: Function, total: Value, losses: set[int]) -> Iterator[Diagnostic]:
        terms = [call for side in total.arguments if (call := _loss(function, side)) is not None and id(call) in losses]
        if (
            len(terms) == 2
            and terms[0] is not terms[1]
            and str(terms[0]) == str(terms[1])
            and _is_same(function, *terms)
        ):
            yield self.at(terms[1], f"is the loss of line {terms[0].location.line} once more, and is added to it")


def _loss(function: Function, value: Value) -> Value | None:
    """The call that a term is, but for a weight."""
    while value.kind == "operation" and value.name in ("*", "/"):
        first, second = value.arguments
        value = second if first.kind == "constant" else first
    bound = tensors.bounds(function, value.name)
    made = bound[0] if value.kind == "name" and len(bound) == 1 else value
    return made if made.kind == "call" else None


def _is_same(function: Function, first: Value, second: Value) -> bool:
    """Whether nothing changes between the two of what both are given by name."""
    given = [*first.arguments, *(value for _, value in first.keywords)]
    if not given or any(part.kind not in NAMED for part in given):
        return False
    places = [at for at, e in enumerate(function.events) if e.value is first or e.value is second]
    between = function.events[min(places) : max(places)]
    names = {part.name for part in given if part.kind == "name"}
    blocks = {e.block for e in function.events if e.kind == "call" and (e.value is first or e.value is second)}
    return len(blocks) == 1 and not any(e.kind != "call" and e.name.partition("[")[0] in names for e in between)
