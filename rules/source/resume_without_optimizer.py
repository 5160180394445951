"""ML173."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value
from modellint.source.vocabulary import is_optimizer, is_scheduler, sounds_like_optimizer

SCHEDULE = pattern(r"(.*[._])?(lr_?)?sched(ule)?s?(_\w+)?", re.IGNORECASE)
PARTS: dict[str, Callable[[str], object]] = {
    "optimizer": sounds_like_optimizer,
    "scheduler": lambda name: is_scheduler(name) or SCHEDULE.fullmatch(name),
}
MODEL = pattern(r"model|net|encoder|decoder|module|backbone|head", re.IGNORECASE)
BRINGS = pattern(r"load|restore|resume", re.IGNORECASE)
SAVES = pattern(r"save(_?(checkpoint|ckpt|model|states?|snapshot))?", re.IGNORECASE)
EPOCH = pattern(r"\w*(epoch|step|iter|itr)\w*", re.IGNORECASE)


WORKS = pattern(r".*(train|fit|step|backward|save|run|optim).*", re.IGNORECASE)


class ResumeWithoutOptimizer(SourceRule):
    """Training is resumed from a checkpoint that holds the state of the optimizer or schedule, and the state is not loaded.

    Why: Adam's averages and the momentum start again from zero while the weights and the epoch go on: the first steps after the
        resume are far too large, and the loss jumps. A schedule that starts anew warms up a second time, or decays too late.
    Fix: `optimizer.load_state_dict(checkpoint["optimizer"])` (and the scheduler's) where the model is restored.
    Ignore: when only the weights are meant to be taken over; then the epoch should start anew, too.
    Reported: https://github.com/NVlabs/stylegan2-ada-pytorch/issues/108, https://github.com/r9y9/wavenet_vocoder/issues/132
    """

    code, severity, certain, topic = "ML173", Severity.WARNING, True, "optimizer"
    calls = ("load_state_dict",)
    words = (("torch.load(", "load_state_dict(", "torch.save(", "epoch"),)
    bad = (
        """
        import torch

        class Trainer:
            def restore(self, path):
                snap = torch.load(path)
                self.net.load_state_dict(snap["weights"])
                self.optim.load_state_dict(snap["optim"])
                self.first = snap["epoch"] + 1

            def keep(self, epoch):
                state = {"weights": self.net.state_dict(), "optim": self.optim.state_dict(), "epoch": epoch}
                torch.save({**state, "sched": self.sched.state_dict()}, "last.pt")

            def fit(self):
                for epoch in range(self.first, 100):
                    self.train_epoch()
                    self.sched.step()
                    self.keep(epoch)
        """,
        """
        import torch

        start = 0
        if args.resume:
            checkpoint = torch.load(args.resume)
            model.load_state_dict(checkpoint["model"])
            start = checkpoint["epoch"] + 1
        for epoch in range(start, 100):
            train(model, optimizer)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, "last.pt")
        """,
        """
        import torch

        def save(path, epoch, model, optimizer, scheduler):
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save({**state, "scheduler": scheduler.state_dict(), "epoch": epoch}, path)

        def load(path, model, optimizer, scheduler):
            checkpoint = torch.load(path)
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            return checkpoint["epoch"] + 1

        def main(model, optimizer, scheduler, resume):
            start_epoch = load(resume, model, optimizer, scheduler) if resume else 0
            for epoch in range(start_epoch, 100):
                train(model, optimizer)
                scheduler.step()
                save("last.pt", epoch, model, optimizer, scheduler)
        """,
        """
        import torch

        resume_epoch = 0

        def train(model, optimizer):
            if resume_epoch > 0:
                checkpoint = torch.load(f"epoch-{resume_epoch - 1}.pt")
                model.load_state_dict(checkpoint["model"])
            for epoch in range(resume_epoch, 100):
                run(model, optimizer)
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
                torch.save(state, f"epoch-{epoch}.pt")
        """,
        """
        import torch

        def main(args, model, optimizer):
            checkpoint = torch.load(args.resume)
            start_epoch = checkpoint["epoch"]
            model.load_state_dict(checkpoint["state_dict"])
            for epoch in range(start_epoch, args.epochs):
                train(model, optimizer)
                save_checkpoint(
                    {"epoch": epoch + 1, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, True
                )

        def save_checkpoint(state, is_best):
            torch.save(state, "last.pt")
        """,
        """
        import torch

        def load_checkpoint(path, model, optimizer=None):
            checkpoint = torch.load(path)
            model.load_state_dict(checkpoint["state_dict"])
            if optimizer:
                print("resumed from epoch", checkpoint["epoch"])
            return checkpoint

        def save(state, path):
            torch.save(state, path)
        """,
        """
        def save(path, model, optimizer, epoch):
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, path)

        def load(path, model):
            state = torch.load(path)
            model.load_state_dict(state["model"])
            return state["epoch"] + 1
        """,
        """
        start_epoch = 0
        if args.resume:
            state = torch.load(args.resume)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            start_epoch = state["epoch"] + 1
        for epoch in range(args.epochs):
            train_one_epoch(model, loader, optimizer)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
    )
    good = (
        """
        state = torch.load(args.resume)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start_epoch = state["epoch"] + 1
        for epoch in range(args.epochs):
            if epoch < start_epoch:
                continue
            train_one_epoch(model, loader, optimizer)
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch

        def main(args, model, optimizer, again):
            checkpoint = torch.load(args.resume)
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            start = checkpoint["epoch"] + 1
            sched = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs, last_epoch=start - 1)
            for epoch in range(start, args.epochs):
                train(model, optimizer)
                sched.step()
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "sched": sched.state_dict()}
                torch.save({**state, "epoch": epoch, "sched": sched.state_dict()}, "last.pt")
        """,
        """
        import torch

        def main(args, model, optimizer, scheduler):
            checkpoint = torch.load(args.resume)
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            for _ in range(checkpoint["epoch"]):
                scheduler.step()
            for epoch in range(checkpoint["epoch"], args.epochs):
                train(model, optimizer)
                scheduler.step()
                torch.save({"model": model.state_dict(), "scheduler": scheduler.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch

        class Trainer:
            def restore(self, path):
                snap = torch.load(path)
                self.net.load_state_dict(snap["weights"])
                self.rate.load_state_dict(snap["sched"])
                self.first = snap["epoch"] + 1

            def keep(self, epoch):
                state = {"weights": self.net.state_dict(), "sched": self.rate.state_dict(), "epoch": epoch}
                torch.save({**state, "optim": self.optim.state_dict() if self.exact else None}, "last.pt")

            def fit(self):
                self.optim = torch.optim.SGD(self.net.parameters(), 0.1)  # without momentum it has no state
                for epoch in range(self.first, 100):
                    self.train_epoch()
                    self.keep(epoch)
        """,
        """
        import torch

        def load_checkpoint(path, model, optimizer=None):
            checkpoint = torch.load(path)
            model.load_state_dict(checkpoint["state_dict"])
            for key, part in {"optimizer": optimizer}.items():
                part.load_state_dict(checkpoint[key])
            return checkpoint["epoch"]

        def save(state, path):
            torch.save(state, path)
        """,
        """
        import torch

        def compare(model, optimizer, epoch, epochs):
            for step in range(epoch, epochs):  # every checkpoint that is there
                checkpoint = torch.load(f"epoch-{step}.pt")
                model.load_state_dict(checkpoint["model"])
                print(score(model))

        def save(model, optimizer, epoch):
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
            torch.save(state, f"epoch-{epoch}.pt")
        """,
        """
        import torch

        start = 0
        if args.resume:
            checkpoint = torch.load(args.resume)
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            start = checkpoint["epoch"] + 1
        for epoch in range(start, 100):
            train(model, optimizer)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch

        def evaluate(path):
            checkpoint = torch.load(path)
            model.load_state_dict(checkpoint["model"])
            print("trained for", checkpoint["epoch"], score(model))

        for epoch in range(100):
            train(model, optimizer)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch
        from project.states import load_optimizer

        def main(args, model, optimizer):
            checkpoint = torch.load(args.resume)
            model.load_state_dict(checkpoint["model"])
            load_optimizer(args.resume, optimizer)
            for epoch in range(checkpoint["epoch"], 100):
                train(model, optimizer)
                torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch

        def main(model, epochs):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # without momentum it has no state
            checkpoint = torch.load("last.pt")
            model.load_state_dict(checkpoint["model"])
            for epoch in range(checkpoint["epoch"], epochs):
                train(model, optimizer)
                torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch

        def main(model, optimizer, epochs):
            checkpoint = torch.load("last.pt")
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            start = checkpoint["epoch"]
            sched = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs - start)
            for epoch in range(start, epochs):
                train(model, optimizer)
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "sched": sched.state_dict()}
                torch.save({"sched": sched.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch

        def second(model):
            checkpoint = torch.load("first.pt")
            model.load_state_dict(checkpoint["model"])
            optimizer = torch.optim.AdamW(model.head.parameters())
            for epoch in range(checkpoint["epoch"], 100):
                train(model, optimizer)
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
                torch.save(state, "second.pt")
        """,
        """
        import torch

        def evaluate(model, optimizer, path):
            first = torch.load(path)
            model.load_state_dict(first["model"])
            for epoch in range(first["epoch"], 100):
                model.load_state_dict(torch.load(f"{epoch}.pt")["model"])
                print(epoch, score(model))

        def keep(model, optimizer, epoch):
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, f"{epoch}.pt")
        """,
        """
        import torch

        checkpoint = torch.load(args.resume)
        for name, part in {"model": model, "optimizer": optimizer}.items():
            part.load_state_dict(checkpoint[name])
        for epoch in range(checkpoint["epoch"], 100):
            train(model, optimizer)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
        """
        import torch
        from project.states import restore

        checkpoint = torch.load(args.resume)
        model.load_state_dict(checkpoint["model"])
        restore(optimizer, checkpoint)
        for epoch in range(checkpoint["epoch"], 100):
            train(model, optimizer)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, "last.pt")
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        loads = [call for call in script.calls if call.method == "load_state_dict" and call.receiver is not None]
        for what, sounds in PARTS.items():
            saves = [call for call in script.calls if SAVES.fullmatch(call.method)]
            keys = {key for call in saves for key in _keys(script, call, sounds)}
            loaded = any(_may_be(call, what, keys) for call in loads) or _are_read(script, keys)
            if keys and not loaded and not AFRESH[what](script):
                yield from (found := list(self._resumed(script, loads, min(keys))))
                yield from () if found else self._partly(script, loads, what, min(keys))
                return
        yield from self._unread(script)
        for function in script.functions:
            restored = [c for c in function.calls if c in loads] if any(_loaded(function)) else []
            for name in _left(function) if restored else ():
                yield self.at(restored[0], f"takes `{name}` and does not restore it", certain=False)

    def _partly(self, script: Script, loads: Sequence[Value], what: str, key: str) -> Iterator[Diagnostic]:
        """A function that restores the model and the epoch: a loop of another file or method may go on from there."""
        for function in script.functions:
            for checkpoint, load in _loaded(function):
                restored = [c for c in function.calls if c in loads and any(_is_of(p, checkpoint) for p in c.within())]
                counted = [e for e in function.events if e.value is not None and _counts(e.value, checkpoint)]
                taken = any(e.kind == "return" or (e.kind == "assign" and e.name.startswith("self.")) for e in counted)
                if restored and taken and not _is_handed_on(function, checkpoint) and not _is_stage(script, load):
                    message = f"restores the epoch of `{checkpoint}`, and not its `{key}`"
                    yield self.at(restored[0], message, certain=False)

    def _unread(self, script: Script) -> Iterator[Diagnostic]:
        """An epoch that is read from a checkpoint for a loop that begins at zero all the same."""
        for function in script.functions:
            for checkpoint, _ in _loaded(function):
                anew = any(_begins_anew(function, index) for index in range(len(function.blocks)))
                for event in function.events if anew else ():
                    reads = event.kind == "assign" and event.value is not None and _counts(event.value, checkpoint)
                    if reads and EPOCH.fullmatch(event.name) and not _is_used(script, function, event.name):
                        message = (
                            f"reads `{event.name}` from `{checkpoint}` and never uses it: the epochs begin at 0 again"
                        )
                        yield self.at(event, message, certain=False)

    def _resumed(self, script: Script, loads: Sequence[Value], key: str) -> Iterator[Diagnostic]:
        for function in script.functions:
            for checkpoint, load in _loaded(function):
                restored = [c for c in function.calls if c in loads and any(_is_of(p, checkpoint) for p in c.within())]
                alone = restored and not _is_handed_on(function, checkpoint) and not _is_stage(script, load)
                if alone and _goes_on(script, function, checkpoint, load):
                    yield self.at(restored[0], f"goes on from the epoch of `{checkpoint}`, without its `{key}`")


def _is_afresh(script: Script) -> bool:
    """Whether the optimizer has no state, or another file may restore it."""
    made = [c for c in script.calls if is_optimizer(c.name)]
    plain = [c for c in made if c.method == "SGD" and c.argument(2, "momentum") is None and not c.unpacks]
    return (bool(made) and made == plain) or any(
        _is_helped(script, call, sounds_like_optimizer) for call in script.calls
    )


def _is_helped(script: Script, call: Value, sounds: Callable[[str], object]) -> bool:
    """Whether a function of another file that sounds like it restores is given such an object."""
    own = {function.name.rpartition(".")[2] for function in script.functions}
    helps = BRINGS.search(call.name) and call.method not in own and call.method != "load_state_dict"
    return bool(helps) and any(sounds(str(a)) for a in call.arguments if a.kind == "name")


def _is_wound_on(script: Script) -> bool:
    """Whether a schedule may be brought to its place without its state: told the epoch, stepped in vain, or by a helper."""
    sounds = PARTS["scheduler"]
    for function in script.functions:
        for event in function.events:
            call = event.value if event.kind == "call" else None
            if event.kind == "assign" and event.name.endswith(".last_epoch"):
                return True
            if call is None:
                continue
            told = call.argument(None, "last_epoch") is not None
            step = call.method == "step" and call.receiver is not None and bool(sounds(str(call.receiver)))
            alone = step and all(e.value is call for _, e in function.inside(event.block) if e.kind == "call")
            what = (*call.arguments, *(value for _, value in call.keywords)) if is_scheduler(call.name) else ()
            rest = any(part.kind == "operation" and part.name == "-" for part in what)  # over the epochs that are left
            if (
                told
                or rest
                or _is_helped(script, call, sounds)
                or (step and call.arguments)
                or (alone and function.blocks[event.block].is_loop)
            ):
                return True
    return False


AFRESH = {"optimizer": _is_afresh, "scheduler": _is_wound_on}


def _left(function: Function) -> Iterator[str]:
    """The parameters that sound like an optimizer and that a function at most asks for."""
    values = [event.value for event in function.events if event.value is not None]
    values += [block.value for block in function.blocks if block.value is not None and block.kind not in ("if", "else")]
    used = {part.name.partition(".")[0] for value in values for part in value.within()}
    yield from (p.name for p in function.parameters if sounds_like_optimizer(p.name) and p.name not in used)


def _keys(script: Script, save: Value, sounds: Callable[[str], object]) -> Iterator[str]:
    """The keys of a saved dict under which the state of such an object lies."""
    given = save.argument(0, "obj")
    dicts = [given] if given is not None and given.kind == "dict" else []
    if given is not None and given.kind == "name":
        events = (e for f in script.functions for e in f.events if e.kind == "assign" and e.name == given.name)
        dicts = [e.value for e in events if e.value is not None and e.value.kind == "dict"]
    for written in dicts:
        for key, value in written.keywords:
            if value.method == "state_dict" and value.receiver is not None and sounds(str(value.receiver)):
                yield key


def _may_be(load: Value, what: str, keys: set[str]) -> bool:
    """Whether it restores such an object, or something that cannot be told by its name or the key of its state."""
    name, given = str(load.receiver), load.argument(0, "state_dict")
    if given is not None and given.kind == "item" and isinstance(given.arguments[0].constant, str):
        return bool(PARTS[what](name)) or given.arguments[0].constant in keys
    others = (sounds for part, sounds in PARTS.items() if part != what)
    return bool(PARTS[what](name)) or not (MODEL.search(name) or any(sounds(name) for sounds in others))


def _are_read(script: Script, keys: set[str]) -> bool:
    """Whether anything reads one of the keys, or goes through a checkpoint by keys that cannot be read."""
    for part in (value for function in script.functions for value in function.values):
        index = part.arguments[0] if part.kind == "item" or (part.method in ("get", "pop") and part.arguments) else None
        if index is not None and index.constant in keys:
            return True
    return False


def _loaded(function: Function) -> Iterator[tuple[str, Value]]:
    """The names that checkpoints are bound to, and the calls that load them."""
    for event in function.events:
        value = event.value
        if event.kind == "assign" and value is not None and value.kind == "call" and value.name == "torch.load":
            yield event.name, value


def _is_handed_on(function: Function, checkpoint: str) -> bool:
    """Whether a call is given all of it, which may restore the rest."""
    calls = (call for call in function.calls if call.name not in ("print", "len", "isinstance"))
    given = (part for call in calls for part in (*call.arguments, *(value for _, value in call.keywords)))
    return any(part.name == checkpoint for part in given)


def _is_stage(script: Script, load: Value) -> bool:
    """Whether the file is none of those that are written: that of an earlier stage, with an optimizer of its own."""
    read = load.argument(0, "f")
    saves = [c.argument(1, "f") for c in script.calls if c.name == "torch.save"]
    written = {path.constant if path is not None else None for path in saves}
    return read is not None and read.kind == "constant" and None not in written and read.constant not in written


def _is_of(part: Value, checkpoint: str) -> bool:
    return part.kind == "item" and part.base is not None and part.base.name == checkpoint


def _goes_on(script: Script, function: Function, checkpoint: str, load: Value) -> bool:
    """Whether a loop of the file counts on from a number that the checkpoint holds, or that its file is named after."""
    starts = {
        e.name for e in function.events if e.kind == "assign" and e.value is not None and _counts(e.value, checkpoint)
    }
    starts |= {part.name for part in load.within() if part.kind == "name" and EPOCH.fullmatch(part.method)}
    given = {name for other in script.functions for name in _given_back(other, function, checkpoint)}
    for other in script.functions:
        for index, block in enumerate(other.blocks):
            over = block.value if block.kind == "for" and _works(other, index) else None
            first = next(
                (v for v in (over.within() if over is not None else ()) if v.name in ("range", "trange")), None
            )
            begin = first.arguments[0] if first is not None and len(first.arguments) > 1 else None
            parts = list(begin.within()) if begin is not None else []
            seen = other is function or function.kind == "module"
            named = any(part.name in starts and (seen or part.name.startswith("self.")) for part in parts)
            if named or any(_counts(part, checkpoint) for part in parts if other is function):
                return True
            if any(part.name in given for part in parts):
                return True
    return False


def _is_used(script: Script, function: Function, name: str) -> bool:
    """Whether anything reads a name where it can be seen."""
    seen = script.functions if function.kind == "module" else (function,)
    blocks = (block.value for f in seen for block in f.blocks if block.value is not None)
    values = (*(part for f in seen for part in f.values), *(part for value in blocks for part in value.within()))
    inner = any(f.parent == function.name for f in script.functions)
    return inner or any(part.kind == "name" and part.name == name for part in values)


def _begins_anew(function: Function, loop: int) -> bool:
    """Whether a loop over epochs that trains counts from zero."""
    over = function.blocks[loop].value if function.blocks[loop].kind == "for" else None
    first = next((v for v in (over.within() if over is not None else ()) if v.name in ("range", "trange")), None)
    return first is not None and len(first.arguments) == 1 and "epoch" in str(first) and _works(function, loop)


def _works(function: Function, loop: int) -> bool:
    """Whether a loop trains, as far as the names of its calls and of what they are given tell."""
    calls = (e.value for _, e in function.inside(loop) if e.kind == "call" and e.value is not None)
    return any(WORKS.fullmatch(str(part)) for call in calls for part in (call.name, *call.arguments))


def _given_back(other: Function, function: Function, checkpoint: str) -> Iterator[str]:
    """The names to which another function binds the number of the epoch that this one reads and returns."""
    returned = [e.value for e in function.events if e.kind == "return" and e.value is not None]
    if any(_counts(value, checkpoint) for value in returned):
        for event in other.events:
            made = event.value.within() if event.kind == "assign" and event.value is not None else ()
            if EPOCH.fullmatch(event.name) and any(v.kind == "call" and v.name == function.name for v in made):
                yield event.name


def _counts(value: Value, checkpoint: str) -> bool:
    parts = (part for part in value.within() if _is_of(part, checkpoint))
    return any(EPOCH.fullmatch(str(part.arguments[0].constant)) for part in parts)
