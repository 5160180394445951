"""ML477."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value

PATIENCE = pattern(r"patien|early|(?<![a-z])stop|toleran|no_?impro|not_?impro|wait|stale|bad_?epoch", re.IGNORECASE)
BEST = pattern(r"best|lowest|highest|(?<![a-z])(?:min|max)_", re.IGNORECASE)
COUNTED = pattern(rb"[>=<]=? *[\w.]*(?:patien|early|toleran|no_?impro)")


class PatienceNeverReset(SourceRule):
    """The count of epochs without an improvement is not set back to zero where there is one.

    Why: training then ends after so many bad epochs in all, not in a row: a long training that gets better now and then is
        stopped far too early, the more so the noisier the validation is.
    Fix: set the counter to zero where the best value is replaced.
    Ignore: where the bad epochs of the whole training are to be counted.
    Reported: https://github.com/royerlab/cytoself/issues/29, https://github.com/modelscope/ms-swift/pull/5326,
        https://github.com/ivadomed/ivadomed/issues/867
    """

    code, severity, certain, topic = "ML477", Severity.WARNING, False, "evaluation"
    words = (("best", "+= 1", COUNTED),)
    bad = (
        """
        best, bad = float("inf"), 0
        for epoch in range(100):
            train(model)
            val_loss = evaluate(model)
            if val_loss < best:
                best = val_loss
                torch.save(model.state_dict(), "best.pt")
            else:
                bad += 1
            if bad >= patience:
                break
        """,
        """
        class EarlyStopping:
            def __init__(self, patience):
                self.patience, self.counter, self.best_loss = patience, 0, None
                self.stop = False

            def __call__(self, val_loss):
                if self.best_loss is None or val_loss < self.best_loss:
                    self.best_loss = val_loss
                else:
                    self.counter += 1
                    if self.counter >= self.patience:
                        self.stop = True
        """,
    )
    good = (
        """
        best, bad = float("inf"), 0
        for epoch in range(100):
            train(model)
            val_loss = evaluate(model)
            if val_loss < best:
                best, bad = val_loss, 0
            else:
                bad += 1
            if bad >= patience:
                break
        """,
        """
        class EarlyStopping:
            def __init__(self, patience):
                self.patience, self.best_loss = patience, None
                self.reset()

            def reset(self):
                self.counter = 0

            def __call__(self, val_loss):
                if self.best_loss is None or val_loss < self.best_loss:
                    self.best_loss = val_loss
                    self.reset()
                elif self.counter >= self.patience:
                    self.stop = True
                else:
                    self.counter += 1
        """,
        """
        best, last, patience = 0.0, 0, 10
        for epoch in range(100):
            score = evaluate(model)
            if score > best:
                best, last = score, epoch
            elif epoch - last > patience:
                break
            else:
                skipped += 1
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            told = set[str]()
            for event in function.events:
                counts = event.name not in told and _counts(event) and _without_improvement(function, event)
                if counts and _is_awaited(function, event.name) and not _is_reset(script, function, event):
                    told.add(event.name)
                    yield self.at(
                        event, f"counts in `{event.name}` what got no better, and nothing sets it back to zero"
                    )


def _counts(event: Event) -> bool:
    """`bad += 1`."""
    value = event.value
    return event.kind == "augment" and value is not None and value.name == "+" and value.arguments[1].constant == 1


def _without_improvement(function: Function, event: Event) -> bool:
    """Whether it is done where a comparison with the best so far has failed."""
    for index in function.enclosing(event.block):
        block = function.blocks[index]
        tried = function.blocks[block.sibling] if block.kind == "else" and block.sibling is not None else None
        if tried is not None and tried.value is not None and _compares(tried.value):
            return any(_is_kept(e) for _, e in function.inside(block.sibling or 0))
    return False


def _compares(test: Value) -> bool:
    parts = list(test.within())
    return any(part.name in ("<", "<=", ">", ">=") for part in parts) and any(BEST.search(part.name) for part in parts)


def _is_kept(event: Event) -> bool:
    return event.kind == "assign" and BEST.search(event.name) is not None


def _is_awaited(function: Function, name: str) -> bool:
    """Whether the count is compared with a patience."""
    for block in function.blocks:
        for test in block.value.within() if block.kind in ("if", "else", "while") and block.value is not None else ():
            if test.name in (">", ">=", "==", "<", "<=") and any(part.name == name for part in test.arguments):
                return any(PATIENCE.search(f"{part.name} {name}") for part in test.arguments)
    return False


def _is_reset(script: Script, function: Function, event: Event) -> bool:
    """Whether anything but what is before the loop, or the constructor, sets the count; or hands it on."""
    loops = [b for b in function.enclosing(event.block) if function.blocks[b].is_loop]
    own = event.name.startswith("self.")
    if not own and not loops:
        return True
    if not own:
        return any(e.kind in ("assign", "global") and e.name == event.name for _, e in function.inside(loops[-1]))
    last = event.name.rpartition(".")[2]
    methods = (other for other in script.functions if not other.name.endswith("__init__"))
    bases = (base for class_ in script.classes if class_.name == function.owner for base in class_.bases)
    set_back = any(e.kind == "assign" and e.name.rpartition(".")[2] == last for f in methods for e in f.events)
    return set_back or any(base.name != "object" for base in bases)
