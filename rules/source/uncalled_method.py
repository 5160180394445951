"""ML151."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function

METHODS = frozenset(
    {
        "step", "zero_grad", "backward", "manual_backward", "train", "eval", "update", "unscale_", "requires_grad_",
        "set_epoch", "empty_cache", "synchronize", "barrier", "detach_", "init_weights", "reset_parameters",
    }
)  # fmt: skip
GIVEN = ("update", "unscale_", "set_epoch", "manual_backward")  # take an argument, often or always
PLAIN = ("zero_grad", "backward", "train", "eval")  # of which nothing else can be meant
ENDING = rb"\.(?:%s)[ \t]*[\r\n#;]" % "|".join(sorted(METHODS)).encode()  # found fast; then a statement of nothing else


class UncalledMethod(SourceRule):
    """A step of the training is named but not called: the parentheses are missing.

    Why: `optimizer.step` as a statement looks the method up and drops it. Python says nothing; the weights stay what they
        were, the gradients pile up, or the model stays in the mode that it was in.
    Fix: add `()`.
    Ignore: never.
    Reported: https://taourl.com/read-3730552.html (a published training loop that lacks every pair of them)
    """

    code, severity, certain, topic = "ML151", Severity.ERROR, True, "gradients"
    words = ((pattern(ENDING), pattern(rb"(?:^|[\n;:])[ \t]*[\w.()\[\]\"', ]*" + ENDING)),)
    bad = (
        """
        for x, y in loader:
            optimizer.zero_grad
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        class Trainer:
            def validate(self):
                self.model.eval
                with torch.no_grad():
                    return sum(self.loss(batch) for batch in self.loader)
        """,
        """
        loss = F.cross_entropy(model(x), y)
        loss.backward
        optimizers[0].step
        """,
        """
        try:
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step
        except KeyboardInterrupt:
            print("stopped")
        """,
    )
    fixed = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        class Trainer:
            def validate(self):
                self.model.eval()
                with torch.no_grad():
                    return sum(self.loss(batch) for batch in self.loader)
        """,
        """
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizers[0].step()
        """,
        """
        try:
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        except KeyboardInterrupt:
            print("stopped")
        """,
    )
    good = (
        """
        step = optimizer.step
        if model.train:
            step()
        print(loss.backward)
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(x, y).backward()
            optimizer.step()
            counter.value
        """,
        """
        try:
            torch.optim.Adam.step  # only asks whether there is one
        except AttributeError:
            raise
        with pytest.raises(RuntimeError):
            unfinished.step
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for event in function.events:
                named = event.value if event.kind == "mention" else None
                if named is not None and named.method in METHODS and named.receiver and not _asks(function, event):
                    yield self.at(event, f"names `{named}` and does not call it")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """The parentheses; a scheduler's step may want a metric, and a scaler's wants the optimizer."""
        events = (event for function in script.functions for event in function.events if event.kind == "mention")
        named = next((e.value for e in events if e.location == finding.location), None)
        if named is None or named.method in GIVEN or "scaler" in named.name.lower():
            return None
        sure = named.method in PLAIN or (named.method == "step" and "opt" in named.name.lower())
        return Fix((edit.replace(named, "{whole}()"),), safe=sure)


def _asks(function: Function, event: Event) -> bool:
    """Whether the statement is there to see if it fails: in a `try` itself, or where an exception is asked for."""
    around = [function.blocks[index] for index in function.enclosing(event.block)]
    return around[0].kind == "try" or any(
        b.kind == "with" and b.value is not None and "aises" in b.value.method for b in around
    )
