"""ML476."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import parts
from modellint.source.code import Block, Event, Function, Value
from modellint.source.logged import WATCHES

TEST = pattern(r"(?<![a-z])test(?:ing)?(?![a-z])|(?<![a-z])test(?:set|loader|data)", re.IGNORECASE)
VALIDATION = pattern(r"(?<![a-z])(?:val|valid|validation|dev)(?:_|$|\d|set|loader|data|dl)", re.IGNORECASE)
BEST = pattern(r"best|(?<![a-z])(?:top|final|max|min)_", re.IGNORECASE)
KEEPING = frozenset({"save", "state_dict", "deepcopy", "save_checkpoint", "save_pretrained", "save_model"})
DATA = pattern(r"loader|data|set$|_dl$|^dl_|mask|_ds$|_df$|_iter|^(?:val|valid|dev|test)$", re.IGNORECASE)
KEPT = pattern(rb"save(?:_checkpoint|_pretrained|_model)?\(|state_dict\(|deepcopy\(")
COMPARED = pattern(rb"if [^\n]*(?:[<>][^\n]*best|best[^\n]*[<>])")
LOADED = pattern(
    rb"(?:val|valid|validation|dev)_?\w* *=[^=]|[\"'](?:val|valid|validation|dev)[\"']|(?:val|valid|dev)_\w+,"
)
MONITORED = pattern(rb"(?:EarlyStopping|ModelCheckpoint)\([^)]*monitor *= *[\"']train")
LONGEST = 60


class SelectedOnTest(SourceRule):
    """The weights that are kept, or the moment to stop, are chosen by the test data or by the training data.

    Why: the best of many epochs on the test data is too good by luck: the score says no longer how the model does on data that
        nothing was chosen by. By the training data the last epoch is nearly always the best, however much it overfits.
    Fix: choose by the validation data, and test once, with what was chosen.
    Ignore: where the test data is named so and another part is kept for the last test.
    Reported: https://github.com/xuanmay2701/shapeformer/issues/2, https://github.com/gwinndr/MusicTransformer-Pytorch/issues/10
    """

    code, severity, certain, topic = "ML476", Severity.WARNING, False, "evaluation"
    words = (
        ("torch", "test", COMPARED, LOADED, KEPT), ("torch", "train_loss", "val", COMPARED, KEPT),
        ("EarlyStopping(", MONITORED), ("ModelCheckpoint(", MONITORED),
    )  # fmt: skip
    bad = (
        """
        best = 0.0
        for epoch in range(100):
            train(model, train_loader)
            val_acc, test_acc = evaluate(model, val_loader), evaluate(model, test_loader)
            if test_acc > best:
                best = test_acc
                torch.save(model.state_dict(), "best.pt")
        """,
        """
        val_loader, test_loader = make(0), make(1)
        best_acc = 0.0
        for epoch in range(100):
            train(model)
            correct = 0
            for x, y in test_loader:
                correct += (model(x).argmax(1) == y).sum().item()
            acc = correct / 1000
            if acc > best_acc:
                best_acc = acc
                torch.save(model.state_dict(), "best.pt")
        """,
        """
        import torch

        class Agent:
            def __init__(self, val_set, test_set):
                self.val_loader, self.test_loader = DataLoader(val_set), DataLoader(test_set)
                self.best_mae = float("inf")

            def run(self):
                for epoch in range(30):
                    self.train_epoch()
                    mae = self.evaluate(self.test_loader)
                    if mae < self.best_mae:
                        self.best_mae = mae
                        self.save_checkpoint("best.pt")
        """,
        """
        best_loss = float("inf")
        for epoch in range(100):
            train_loss = train(model, train_loader)
            val_loss = evaluate(model, val_loader)
            if train_loss < best_loss:
                best_loss = train_loss
                torch.save(model.state_dict(), "best.pt")
        """,
        """
        import pytorch_lightning as pl
        from pytorch_lightning.callbacks import EarlyStopping

        class Net(pl.LightningModule):
            def training_step(self, batch, index):
                loss = F.cross_entropy(self(batch[0]), batch[1])
                self.log("train_loss", loss)
                return loss

            def validation_step(self, batch, index):
                self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

        trainer = pl.Trainer(callbacks=[EarlyStopping(monitor="train_loss", mode="min")])
        trainer.fit(Net(), data)
        """,
    )
    good = (
        """
        best = 0.0
        for epoch in range(100):
            train(model, train_loader)
            val_acc, test_acc = evaluate(model, val_loader), evaluate(model, test_loader)
            if val_acc > best:
                best, final = val_acc, test_acc
                torch.save(model.state_dict(), "best.pt")
            if test_acc > best_test_acc:
                best_test_acc = test_acc  # only to be shown
        """,
        """
        best_acc = 0.0
        for epoch in range(100):
            train(model, train_loader)
            test_acc = evaluate(model, test_loader)  # there is no other part
            if test_acc > best_acc:
                best_acc = test_acc
                torch.save(model.state_dict(), "best.pt")
        """,
        """
        def fit(model, train_loader, val_loader):
            best_loss = float("inf")
            for epoch in range(100):
                train_loss = train(model, train_loader)
                if train_loss < best_train_loss:
                    best_train_loss = train_loss
                    torch.save(model.state_dict(), "best_train.pt")
                val_loss = evaluate(model, val_loader)
                if val_loss < best_loss:
                    best_loss = val_loss
                    torch.save(model.state_dict(), "best.pt")
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for call in script.calls if script.logged else ():
            watched = call.argument(None, "monitor") if call.method in WATCHES else None
            name = watched.constant if watched is not None and isinstance(watched.constant, str) else ""
            other = next((n for n in sorted(script.logged or ()) if n == name.replace("train", "val")), name)
            if name.startswith("train") and other != name:
                yield self.at(call, f"chooses by `{name}`, of the training data; `{other}` is logged")
        if KEEPING.isdisjoint(script.called) or not any(map(VALIDATION.search, _named(script))):
            return
        for function in script.functions:
            for index, block in enumerate(function.blocks):
                value = _chosen(function, index, block)
                if value is None or block.value is None:
                    continue
                sources = _sources(function, value)
                data = set(filter(DATA.search, sources))
                if any(map(VALIDATION.search, data)):
                    continue
                told = TEST.search(value.method) and not any(map(VALIDATION.search, sources))
                if told or any(map(TEST.search, data)):
                    message = f"keeps what is best by `{value}`, of the test data; there is a part for validation"
                    yield self.at(block.value, message)
                elif parts.trains(value.name) and _validates(function, value):
                    message = f"keeps what is best by `{value}`, of the training data; there is a part for validation"
                    yield self.at(block.value, message)


def _named(script: Script) -> Iterator[str]:
    """The names and the short texts that a file writes."""
    for function in script.functions:
        yield from (event.name for event in function.events if event.kind == "assign")
        yield from (str(p.default.constant) for p in function.parameters if p.default is not None)
        for part in function.values:
            text = part.constant if isinstance(part.constant, str) and len(part.constant) < LONGEST else ""
            yield part.name if part.kind == "name" else text


def _chosen(function: Function, index: int, block: Block) -> Value | None:
    """What is compared with the best so far, and becomes it, where weights are kept; not where the name says of what part."""
    tests = block.value.arguments if block.value is not None and block.value.kind == "choice" else (block.value,)
    for test in tests if block.kind == "if" else ():
        sides = test.arguments if test is not None and test.name in ("<", "<=", ">", ">=") else ()
        for best, value in (sides, sides[::-1]) if len(sides) == 2 else ():
            told = TEST.search(best.name) or parts.trains(best.name)
            if value.kind == "name" and BEST.search(best.name) and not told and _keeps(function, index, best, value):
                return value
    return None


def _keeps(function: Function, index: int, best: Value, value: Value) -> bool:
    inside = [event for _, event in function.inside(index)]
    becomes = any(e.kind == "assign" and e.name == best.name and str(e.value) == str(value) for e in inside)
    return becomes and any(e.value is not None and e.value.method in KEEPING for e in inside if e.kind == "call")


def _sources(function: Function, value: Value) -> set[str]:
    """The names and short texts of which a number is made: of what is summed, also what the loop around it goes over."""
    seen = {value.name}
    waiting = [value.name]
    bound = _bindings(function)
    while waiting and len(seen) < LONGEST:
        for event in bound.get(waiting.pop(), ()):
            values = [event.value] if event.value is not None else []
            loops = (function.blocks[b] for b in function.enclosing(event.block)) if event.kind != "assign" else ()
            values += [loop.value for loop in loops if loop.kind == "for" and loop.value is not None]
            for part in (part for whole in values for part in whole.within()):
                text = part.constant if isinstance(part.constant, str) and len(part.constant) < LONGEST else ""
                name = part.name if part.kind == "name" else text
                if name and name not in seen:
                    seen.add(name)
                    waiting += [name] if part.kind == "name" else []
    return seen


def _bindings(function: Function) -> dict[str, list[Event]]:
    found = dict[str, list[Event]]()
    for event in function.events:
        if event.kind in ("assign", "augment"):
            found.setdefault(event.name, []).append(event)
        elif event.kind == "call" and event.value is not None and event.value.method in ("append", "extend", "update"):
            found.setdefault(str(event.value.receiver), []).append(event)
    return found


def _validates(function: Function, value: Value) -> bool:
    """Whether the same is measured of the validation data, under a name that differs in the part alone."""
    measured = value.method.replace("train", "").strip("_")
    bound = (event.name.rpartition(".")[2] for event in function.events if event.kind == "assign")
    return any(VALIDATION.search(name) and name.endswith(measured) for name in bound)
