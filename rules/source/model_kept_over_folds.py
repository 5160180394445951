"""ML402."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from modellint import Diagnostic, Location, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.core.record import dataclass
from modellint.source.code import Event, Function, Value
from modellint.source.facts import TrainingLoop
from modellint.source.tensors import bound

SPLITTERS = pattern(r"(\w*KFold|LeaveOneGroupOut|LeaveOneOut|LeavePGroupsOut|\w*ShuffleSplit)")
FOLD = pattern(r"(\w*_)?k?_?folds?(_?(i|id|idx|index|no|num|number|n|k))?|(\w*_)?n_splits", re.IGNORECASE)
FOLDS = ("fold", pattern(rb"for +\w*fold(?!er)\w*[ ,][^\n]* in ")), ("fold", pattern(rb"in +range\([\w.()]*fold"))
# What gives the weights a new beginning.
RESETS = pattern(
    r"\w*reset\w*|\w*re?_?init\w*|(?<!_)init_\w+|weights?_init\w*|deepcopy|clone|load_state_dict|load_weights|load_model|"
    r"load_checkpoint|load|\w*restore\w*|set_weights|copy_|from_pretrained|__init__"
)
BEGINS = pattern(r"reset|init|weight|lambda", re.IGNORECASE)
KEPT = pattern(r"best|ckpt|checkpoint|torch\.load", re.IGNORECASE)
STATELESS = ("SGD", "LBFGS")
MODEL = pattern(r"(\w*_)?(model|net|network|module)s?(_\w+)?", re.IGNORECASE)


class ModelKeptOverFolds(SourceRule):
    """A cross-validation trains one model on through all folds.

    Why: what the second fold holds out, the model has been trained on in the first. The score rises from fold to fold and is
        that of a model that has seen its test data; the mean over the folds says nothing.
    Fix: make model, optimizer and scheduler anew in the loop over the folds.
    Ignore: when the model is only evaluated there, or is meant to learn from one part of the data after the other.
    Reported: https://github.com/McSpooder/camull-net/issues/6, https://github.com/BMEII-AI/RadImageNet/issues/5,
        https://github.com/kkraoj/lfmc_from_sar/issues/5
    """

    code, severity, certain, topic = "ML402", Severity.WARNING, True, "data"
    words = (
        *("KFold(", "LeaveOneGroupOut(", "LeaveOneOut(", ("ShuffleSplit(", "torch"), *FOLDS),
        ".backward(",  # the training may lie in another file
    )
    bad = (
        """
        from sklearn.model_selection import KFold

        model = nn.Linear(8, 2)
        optimizer = torch.optim.Adam(model.parameters())
        for fold, (train_ids, val_ids) in enumerate(KFold(5).split(data)):
            loader = DataLoader(Subset(data, train_ids), shuffle=True)
            for epoch in range(10):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
        """,
        """
        from sklearn.model_selection import StratifiedKFold

        def fit(model, optimizer, loader):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        def main():
            skf = StratifiedKFold(n_splits=5)
            model = nn.Linear(8, 2)
            for train_ids, val_ids in skf.split(x, y):
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(10):
                    fit(model, optimizer, DataLoader(Subset(data, train_ids)))
                print(score(model, DataLoader(Subset(data, val_ids))))
                torch.save(model.state_dict(), "best.pt")
                model.load_state_dict(torch.load("best.pt"))
        """,
        """
        class Experiment:
            def __init__(self, options):
                self.model = nn.Linear(8, 2)

            def train(self, loader, optimizer):
                self.model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(self.model(x), y).backward()
                    optimizer.step()

            def evaluate(self, loader):
                self.model.eval()
                with torch.no_grad():
                    return sum((self.model(x).argmax(1) == y).sum() for x, y in loader)

            def run(self):
                optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
                for fold in range(5):
                    self.train(self.loader(fold, True), optimizer)
                    print(self.evaluate(self.loader(fold, False)))
        """,
        """
        from sklearn.model_selection import KFold

        model = nn.Linear(8, 2)
        start = copy.deepcopy(model.state_dict())
        optimizer = torch.optim.Adam(model.parameters())
        for fold, (train_ids, val_ids) in enumerate(KFold(5).split(data)):
            model.load_state_dict(start)  # and Adam goes on with the moments of the fold before
            for x, y in DataLoader(Subset(data, train_ids), shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        import lightning as L
        from sklearn.model_selection import KFold

        model = Classifier()
        for train_ids, val_ids in KFold(5).split(data):
            trainer = L.Trainer(max_epochs=10)
            trainer.fit(model, DataLoader(Subset(data, train_ids)), DataLoader(Subset(data, val_ids)))
        """,
    )
    good = (
        """
        from sklearn.model_selection import StratifiedKFold

        class Runner:
            def begin(self):
                self.model = nn.Linear(8, 2)
                self.optimizer = torch.optim.Adam(self.model.parameters())

            def fit(self, batches):
                for x, y in batches:
                    self.optimizer.zero_grad()
                    F.cross_entropy(self.model(x), y).backward()
                    self.optimizer.step()

        runner = Runner()
        for train, test in StratifiedKFold(5).split(X, Y):
            runner.begin()
            runner.fit(batches(train))
            print(runner.model(X[test]).argmax(1))
        """,
        """
        from sklearn.model_selection import KFold

        def build():
            return nn.Linear(8, 2)

        for fold, (train_ids, val_ids) in enumerate(KFold(5).split(data)):
            model = build()
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in DataLoader(Subset(data, train_ids)):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        from sklearn.model_selection import KFold

        def reset_weights(module):
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()

        model = nn.Linear(8, 2)
        for fold, (train_ids, val_ids) in enumerate(KFold(5).split(data)):
            model.apply(reset_weights)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in DataLoader(Subset(data, train_ids)):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        from sklearn.model_selection import TimeSeriesSplit

        model = nn.Linear(8, 2)
        optimizer = torch.optim.Adam(model.parameters())
        for fold, (past, future) in enumerate(TimeSeriesSplit(5).split(data)):  # walks forward
            for x, y in DataLoader(Subset(data, past)):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        from sklearn.model_selection import KFold

        models = [nn.Linear(8, 2) for _ in range(5)]
        optimizers = [torch.optim.Adam(model.parameters()) for model in models]
        for fold, (train_ids, val_ids) in enumerate(KFold(5).split(data)):
            model, optimizer = models[fold], optimizers[fold]
            for x, y in DataLoader(Subset(data, train_ids)):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        from sklearn.model_selection import KFold

        train_ids, val_ids = next(KFold(5).split(data))
        model = nn.Linear(8, 2)
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(10):
            for x, y in DataLoader(Subset(data, train_ids)):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        import lightning as L
        from sklearn.model_selection import KFold

        for train_ids, val_ids in KFold(5).split(data):
            model = Classifier()
            L.Trainer(max_epochs=10).fit(model, DataLoader(Subset(data, train_ids)))
        """,
        """
        from sklearn.model_selection import KFold

        model = nn.Linear(8, 2)
        optimizer = torch.optim.Adam(model.parameters())
        for fold, (train_ids, val_ids) in enumerate(KFold(5).split(data)):
            if fold != options.fold:
                continue
            for x, y in DataLoader(Subset(data, train_ids)):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for folds in _all_folds(script):
            for loop in (*script.training_loops, *script.entered_loops):
                if folds.location in loop.places[:-1]:
                    yield from self._judged(script, folds, loop)
                    break
            else:
                yield from self._framework(script, folds)

    def _judged(self, script: Script, folds: _Folds, loop: TrainingLoop) -> Iterator[Diagnostic]:
        held = [place for step in loop.steps for place in step.parameters]
        made = [place for step in loop.steps for place in step.subjects]
        if not held or any(folds.makes(script, place) for place in held):
            return
        entered = folds.entry(loop)
        resets = [call for call in folds.calls(script) if _is_reset(call, entered)]
        measured = folds.splits or any(act.kind == "eval" for act in loop.outer)
        if not resets:
            message = f"trains on in every fold the model of line {_line(held[0])}: it has seen what the fold holds out"
            yield self.at(folds, message, certain=measured and loop in script.training_loops)
        elif not any(folds.makes(script, place) for place in made) and not _restores_optimizer(resets):
            spots = set(map(_spot, made))
            if all(o.family not in STATELESS for o in script.trainers if o.spot in spots):
                message = "gives the model new weights in every fold, and the optimizer goes on with the old moments"
                yield self.at(folds, message, certain=False)

    def _framework(self, script: Script, folds: _Folds) -> Iterator[Diagnostic]:
        """A Trainer of Lightning or transformers that is given a model from before the loop."""
        lightning = any("lightning" in full for full in script.imports.values())
        for call in folds.own:
            given = call.argument(0 if call.method == "fit" else None, "model")
            fits = call.method.endswith("Trainer") or (call.method == "fit" and lightning)
            kept = fits and given is not None and given.kind == "name" and folds.keeps(given.name)
            if kept and not any(_is_reset(c, call.location.line or 0) for c in folds.calls(script)):
                yield self.at(call, f"trains `{given}` on in every fold: it has seen what the fold holds out")


@dataclass(frozen=True, slots=True)
class _Folds:
    """A loop over the folds of a cross-validation."""

    function: Function
    block: int
    splits: bool  # a splitter gives them; else they are only called so

    @property
    def location(self) -> Location:
        return self.function.blocks[self.block].location

    @property
    def events(self) -> Iterator[Event]:
        return (event for _, event in self.function.inside(self.block))

    @property
    def own(self) -> Iterator[Value]:
        return (e.value for e in self.events if e.kind == "call" and e.value is not None)

    def calls(self, script: Script) -> Iterator[Value]:
        """Its calls, and with the place of the call those of the file's functions that they call."""
        for call in self.own:
            yield call
            yield from (_placed(inner, call.location) for inner in _reached(script, call, set()))

    def holds(self, place: Location) -> bool:
        first, last = self.location.line or 0, self.location.end_line or 0
        return place.path == self.location.path and first <= (place.line or 0) <= last

    def makes(self, script: Script, subject: str) -> bool:
        """Whether an object is made in the loop, or before it as one of several."""
        spots = [_place(spot) for spot in subject.split(">") if spot]
        several = (b.location for f in script.functions for b in f.blocks if b.is_loop)
        loops = [place for place in several if not _encloses(place, self.location)]
        called = [function.location for call in self.own for function in _entered(script, call, set())]
        return any(self.holds(s) or any(_encloses(place, s) for place in (*loops, *called)) for s in spots)

    def entry(self, loop: TrainingLoop) -> int:
        """The line of its body from which the training loop is come to."""
        lines = [_line(spot) for spot in loop.nest[-1].partition("\0")[0].split(">") if self.holds(_place(spot))]
        return (lines or [place.line or 0 for place in loop.places if self.holds(place)][1:] or [0])[0]

    def keeps(self, name: str) -> bool:
        """Whether a name is bound before the loop and not in it."""
        inside = any(e.kind == "assign" and e.name == name for e in self.events)
        return not inside and bound(self.function, name) is not None


def _all_folds(script: Script) -> Iterator[_Folds]:
    splitters = any(map(SPLITTERS.fullmatch, script.called))
    events = (event for f in script.functions for event in f.events) if splitters else ()
    made = {e.name: e.value for e in events if e.kind == "assign" and e.value is not None}
    for function in script.functions:
        for index, block in enumerate(function.blocks):
            over = block.value if block.kind == "for" else None
            splits = splitters and over is not None and _splits(over, made)
            counted = over is not None and (splits or _is_counted(function, index, over))
            if counted and not _is_left(function, index):
                yield _Folds(function, index, splits)


def _splits(over: Value, made: Mapping[str, Value]) -> bool:
    """Whether it goes over what a splitter of scikit-learn gives, that shuffles past and future."""
    if over.kind == "name" and over.name in made:
        over = made[over.name]
    for call in over.within():
        if call.kind == "call" and call.method == "split" and call.receiver is not None:
            splitter = made.get(str(call.receiver), call.receiver)
            return SPLITTERS.fullmatch(splitter.method) is not None
    return False


def _is_counted(function: Function, index: int, over: Value) -> bool:
    if over.kind != "call" or over.name != "range":
        return False
    targets = {e.name for e in function.events if e.block == index and e.kind == "assign" and e.value is not None}
    named = any(FOLD.fullmatch(part.method) for part in over.within() if part.kind == "name")
    return named or any(FOLD.fullmatch(name) for name in targets)


def _is_left(function: Function, index: int) -> bool:
    """Whether some folds may be passed over: `if fold != options.fold: continue`."""
    leaves = (event.block for _, event in function.inside(index) if event.kind == "leave")
    return any(next(b for b in function.enclosing(block) if function.blocks[b].is_loop) == index for block in leaves)


def _reached(script: Script, call: Value, seen: set[str]) -> Iterator[Value]:
    yield from (inner for function in _entered(script, call, seen) for inner in function.calls)


def _entered(script: Script, call: Value, seen: set[str]) -> Iterator[Function]:
    """The functions of the file that a call comes to, by their names."""
    for function in script.functions:
        if function.name.rpartition(".")[2] == call.method and function.name not in seen:
            seen.add(function.name)
            yield function
            yield from (found for inner in function.calls for found in _entered(script, inner, seen))


def _placed(call: Value, place: Location) -> Value:
    return Value("call", call.name, None, call.base, call.arguments, call.keywords, place)


def _is_reset(call: Value, entered: int) -> bool:
    """Whether a call gives the weights a new beginning; after the training not by what was best in it."""
    if call.method == "apply":
        return any(BEGINS.search(str(argument)) for argument in call.arguments)
    if RESETS.fullmatch(call.method) is None or call.name.startswith(("wandb.", "torch.load", "numpy.", "json.")):
        return False
    after = (call.location.line or 0) > entered
    return not (after and call.method.startswith("load") and KEPT.search(str(call)))


def _restores_optimizer(calls: Iterable[Value]) -> bool:
    return any("opt" in str(call.receiver).lower() for call in calls if call.method == "load_state_dict")


def _encloses(outer: Location, inner: Location) -> bool:
    return outer.path == inner.path and (outer.line or 0) <= (inner.line or 0) <= (outer.end_line or 0)


def _spot(subject: str) -> str:
    return subject.rpartition(">")[2]


def _place(spot: str) -> Location:
    path, line, _ = spot.rsplit(":", 2) if spot.count(":") >= 2 else (spot, "0", "")
    return Location(path, int(line) if line.isdigit() else 0)


def _line(spot: str) -> int:
    return _place(_spot(spot)).line or 0
