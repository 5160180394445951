"""ML150."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value

COPIES = ("copy", "dict", "OrderedDict")  # of the mapping: the tensors in it are still the model's own
OTHERS = pattern(r"loader|dl$|sampler|dataset|optim|opt$|sched|scaler|iter|metric", re.IGNORECASE)  # no models
CHANGES = frozenset({"add_", "sub_", "mul_", "div_", "addcmul_", "addcdiv_", "clamp_", "copy_", "lerp_"})
READING = frozenset({"load_state_dict", "save", "print", "len", "keys", "isinstance"})
NAMED = pattern(rb"= *(?:[\w.]+\()?[\w.\[\]]+\.state_dict\(\)")
KEPT = pattern(rb"\] *= *\w+\.data *(?:\n|#|$)")


class AliasedStateDict(SourceRule):
    """The weights that are kept to go back to are no copy: training goes on changing them.

    Why: `state_dict()` returns the model's own tensors. A "best" state kept in a variable follows every later update,
        so that `load_state_dict()` brings back the last weights, not the best; a state kept to start over from is
        the trained one.
    Fix: `copy.deepcopy(model.state_dict())`, or save it to a file.
    Ignore: when `state_dict` is overridden and returns copies.
    Reported: https://github.com/pytorch/tutorials/pull/188, https://github.com/WenjieDu/PyPOTS/issues/667
    """

    code, severity, certain, topic = "ML150", Severity.ERROR, True, "evaluation"
    words = (("state_dict()", "load_state_dict(", NAMED), (".data", KEPT))
    bad = (
        """
        best, best_state = 0.0, copy.deepcopy(model.state_dict())
        for epoch in range(100):
            train(model)
            accuracy = evaluate(model)
            if accuracy > best:
                best = accuracy
                best_state = model.state_dict()
        model.load_state_dict(best_state)
        """,
        """
        class FGM:
            def attack(self):
                for name, param in self.model.named_parameters():
                    self.backup[name] = param.data
                    param.data.add_(param.grad / param.grad.norm())

            def restore(self):
                for name, param in self.model.named_parameters():
                    param.data = self.backup[name]
        """,
        """
        best, best_state = 0.0, None
        for epoch in range(100):
            train(model)
            accuracy = evaluate(model)
            if accuracy > best:
                best = accuracy
                best_state = model.state_dict()
        model.load_state_dict(best_state)
        """,
        """
        class EarlyStopping:
            def __call__(self, loss, model):
                if loss < self.lowest:
                    self.lowest = loss
                    self.best_weights = model.state_dict().copy()

            def restore(self, model):
                model.load_state_dict(self.best_weights)
        """,
        """
        def cross_validate(model, folds):
            start = model.state_dict()
            for fold in folds:
                model.load_state_dict(start)
                train(model, fold)
        """,
    )
    good = (
        """
        best = 0
        best_state = copy.deepcopy(model.state_dict())
        for epoch in range(10):
            model = Net()
            train(model)
            acc = evaluate(model)
            if acc > best:
                best = acc
                best_state = model.state_dict()
        model.load_state_dict(best_state)
        """,
        """
        def compare(model, ratios):
            with on_cpu(model):  # and then back, which copies
                start = model.state_dict()
            for ratio in ratios:
                model.load_state_dict(start)
                train(model, ratio)
        """,
        """
        class FGM:
            def attack(self):
                for name, param in self.model.named_parameters():
                    self.backup[name] = param.data.clone()
                    param.data.add_(param.grad / param.grad.norm())

            def restore(self):
                for name, param in self.model.named_parameters():
                    param.data = self.backup[name]
        """,
        """
        class Swap:
            def apply(self):
                for name, param in self.model.named_parameters():
                    self.backup[name] = param.data
                    param.data = self.shadow[name]  # another tensor: the old one stays as it is

            def restore(self):
                for name, param in self.model.named_parameters():
                    param.data = self.backup[name]
        """,
        """
        import copy

        for epoch in range(100):
            train(model)
            accuracy = evaluate(model)
            if accuracy > best:
                best, best_state = accuracy, copy.deepcopy(model.state_dict())
        model.load_state_dict(best_state)
        """,
        """
        state = model.state_dict()
        state.update({name: value for name, value in pretrained.items() if name in state})
        model.load_state_dict(state)
        """,
        """
        state = model.state_dict()
        for name, value in torch.load("weights.pt").items():
            state[name] = value
        model.load_state_dict(state)
        """,
        """
        weights = model.state_dict()
        model = Net(wider=True)
        model.load_state_dict(weights)
        """,
        """
        for epoch in range(100):
            train(model)
            if evaluate(model) > best:
                best_state = {name: value.cpu().clone() for name, value in model.state_dict().items()}
                torch.save(model.state_dict(), "best.pt")
        model.load_state_dict(best_state)
        """,
        """
        def test_round_trip():
            state = model.state_dict()
            assert set(state) == names
            model.load_state_dict(state)
        """,
        """
        for batch in loader:
            state = loader.state_dict()
            loader.load_state_dict(state)
        """,
        """
        target.load_state_dict(online.state_dict())
        weights = online.state_dict()
        target.load_state_dict(weights)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        own = {function.owner for function in script.functions if function.name.endswith(".state_dict")}
        for function in script.functions if own <= {None} else ():
            for event in function.events:
                model = _kept(event)
                moved = model is not None and _is_lent(function, event, str(model.receiver))
                if model is not None and not moved and self._comes_back(script, function, event, str(model.receiver)):
                    message = f"keeps the weights of `{model.receiver}` without a copy: they change with the model"
                    yield self.at(event.value or event, message)

        yield from (
            self.at(
                event, f"keeps `{event.value}` without a copy: it changes with the weights, and is put back as it is"
            )
            for event in _held(script)
        )

    def _comes_back(self, script: Script, function: Function, kept: Event, model: str) -> bool:
        """Whether it is loaded, unchanged, into the model that it comes from."""
        if kept.name.startswith("self."):
            scope = [f for f in script.functions if f.owner == function.owner]
            loads = [call for f in scope for call in f.calls if _loads(call, kept.name)]
            return "best" in kept.name and bool(loads) and not any(_changes(f, kept) for f in scope)
        loads = [call for call in function.calls if _loads(call, kept.name) and str(call.receiver) == model]
        rebound = [e for e in function.events if e.kind == "assign" and e.name == model]
        loops = {b for b in function.enclosing(kept.block) if function.blocks[b].is_loop}  # another model each time
        late = [
            e
            for e in rebound
            if (e.location.line or 0) >= (kept.location.line or 0) or loops & set(function.enclosing(e.block))
        ]
        return _trains_between(function, kept, loads, model) and not late and not _changes(function, kept)


def _is_lent(function: Function, kept: Event, model: str) -> bool:
    """Whether a context is given the model, which may put it elsewhere and back: `with on_cpu(model):`."""
    around = (function.blocks[block].value for block in function.enclosing(kept.block))
    return any(part.name == model for value in around if value is not None for part in value.within())


def _held(script: Script) -> Iterator[Event]:
    """Where the tensor of a weight is kept in a mapping that it is put back from, and changed in place in the meantime."""
    events = [event for function in script.functions for event in function.events if event.value is not None]
    kept = [e for e in events if e.kind == "assign" and "[" in e.name and e.value is not None and _is_data(e.value)]
    back = (
        [e for e in events if e.kind == "assign" and e.name.endswith(".data") and e.value is not None] if kept else []
    )
    for event in kept:
        data, mapping = str(event.value), event.name.partition("[")[0]
        put_back = any(e.value is not None and str(e.value).startswith(f"{mapping}[") for e in back)
        elsewhere = any(e.value is not None and not str(e.value).startswith(f"{mapping}[") for e in back)
        owners = (data, data.removesuffix(".data"))
        changed = (e for e in events if e.kind == "call" and e.value is not None and str(e.value.receiver) in owners)
        in_place = any(e.value is not None and e.value.method in CHANGES for e in changed)
        if put_back and in_place and not elsewhere:
            yield event


def _is_data(value: Value) -> bool:
    return value.kind == "name" and value.method == "data" and "." in value.name


def _kept(event: Event) -> Value | None:
    """The call of `state_dict` whose result a name is bound to, perhaps through a copy of the mapping alone."""
    call = event.value if event.kind == "assign" else None
    while call is not None and call.kind == "call" and call.method in COPIES:
        call = call.base if call.method == "copy" and call.base is not None else call.argument(0)
    plain = call is not None and call.kind == "call" and call.method == "state_dict" and call.receiver is not None
    if call is None or not plain or "[" in event.name or OTHERS.search(str(call.receiver)):
        return None
    return call


def _trains_between(function: Function, kept: Event, loads: list[Value], model: str) -> bool:
    """Whether a load follows after something that may change the model: a loop's passes, or a call that is given it."""
    placed = [e for e in function.events if any(e.kind == "call" and e.value is load for load in loads)]
    if any(function.blocks[block].is_loop for e in (kept, *placed) for block in function.enclosing(e.block)):
        return bool(loads)
    first, last = kept.location.line or 0, max((e.location.line or 0 for e in placed), default=0)
    between = (e for e in function.events if e.kind == "call" and first < (e.location.line or 0) < last)
    return any(_may_train(function, e, model) for e in between)


def _may_train(function: Function, event: Event, model: str) -> bool:
    given = event.value.arguments if event.value is not None else ()
    looped = any(function.blocks[block].is_loop for block in function.enclosing(event.block))
    return looped or any(part.name == model for value in given for part in value.within())


def _loads(call: Value, name: str) -> bool:
    given = call.argument(0, "state_dict") if call.method == "load_state_dict" else None
    return given is not None and given.name == name


def _changes(function: Function, kept: Event) -> bool:
    """Whether the mapping is changed or handed on, the name holds something else too, or its tensors are replaced."""
    for event in function.events:
        if event.name.startswith((f"{kept.name}[", f"{kept.name}.")) or (
            event.kind == "assign" and event.name == kept.name and not _same(event, kept)
        ):
            return True
        call = event.value if event.kind == "call" else None
        if call is not None and call.method not in READING:
            given = (call.receiver, *call.arguments, *(value for _, value in call.keywords))
            if any(part.name == kept.name for value in given if value is not None for part in value.within()):
                return True
    return False


def _same(event: Event, kept: Event) -> bool:
    """The same kind of binding, or the None that stands for it before."""
    value = event.value
    copied = value is not None and value.method == "deepcopy"  # until something better is kept
    return (
        copied
        or _kept(event) is not None
        or (value is not None and value.kind == "constant" and value.constant is None)
    )
