"""ML155."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Block, Class, Event, Function, Value
from modellint.source.losses import FUNCTIONS
from modellint.source.metrics import called, direction
from modellint.source.sums import negated

FAR = 1e5  # as good as infinite for what is measured
INFINITE = ("math.inf", "numpy.inf", "torch.inf", "numpy.Inf", "sys.maxsize")
# Words of those who look for what is worst, and names of values that may be below zero.
BELOW_ZERO = pattern(
    r"cosine_similarity|snr|sdr|log_?prob|density|GaussianNLL|elbo|entropy$", re.IGNORECASE
)  # losses that may be negative
MEANT = pattern(r"advers|attack|perturb|worst|hardest|negat|elbo|log_prob|likelihood|energy", re.IGNORECASE)


PHASES = frozenset({"val", "valid", "validation", "dev", "test", "eval"})
KEEPING = frozenset({"save", "state_dict", "deepcopy", "save_checkpoint", "save_pretrained", "save_model"})
MEASURED = pattern(r"val|test|dev|eval", re.IGNORECASE)
TRAINING = pattern(rb"epoch|loss|\bacc(?:uracy)?\b")
BEGUN = pattern(  # or compared
    rb"(?:best|lowest)[^\n=:]*[:=] *(?:[-\d(\[{]|float|math|np\.|numpy|torch|sys|inf|min|max)|[<>]=? *[\w.]*best"
)


class BestNeverImproves(SourceRule):
    """The best value so far is compared the wrong way, or with another value than is kept: what is kept is not the best.

    Why: a lowest loss that begins at zero, or a comparison that is true when the value is worse: the best checkpoint is
        never written, or is that of the worst epoch. Where the loss of training is asked for, or one value is compared and
        another kept, the checkpoint that is called the best is that of some epoch, mostly the last.
    Fix: begin with `float("inf")` and ask for less, or begin with `-float("inf")` and ask for more.
    Ignore: when the worst is what is looked for, or the loss can be below zero.
    Reported: https://github.com/gordicaleksa/pytorch-GAT/pull/12, https://github.com/qjadud1994/TricubeNet/issues/4
    """

    code, severity, certain, topic = "ML155", Severity.WARNING, True, "evaluation"
    words = (
        ("best", "torch.save(", TRAINING, BEGUN), ("best_", "save_checkpoint", BEGUN), ("best_", ".backward(", BEGUN),
        ("best_", "state_dict(", BEGUN), ("lowest", "state_dict(", BEGUN),
    )  # fmt: skip
    bad = (
        """
        best_accuracy = -1
        for epoch in range(20):
            train(net)
            accuracy = validate(net, held_out)
            if accuracy < best_accuracy:
                best_accuracy = accuracy
                torch.save(net.state_dict(), "best.pt")
        """,
        """
        best = 0
        for epoch in range(20):
            train(net)
            with torch.no_grad():
                v = sum(F.cross_entropy(net(x), y).item() for x, y in held_out)
            if v < best:
                best = v
                torch.save(net.state_dict(), "best.pt")
        """,
        """
        import torch

        best_loss = 0.0
        for epoch in range(20):
            train(model)
            val_loss = evaluate(model)
            if val_loss < best_loss:
                best_loss = val_loss
                torch.save(model.state_dict(), "best.pt")
        """,
        """
        import torch

        class Trainer:
            def __init__(self):
                self.best = float("inf")

            def validate(self):
                accuracy = self.evaluate()
                if accuracy > self.best:
                    self.best = accuracy
                    torch.save(self.model.state_dict(), "best.pt")
        """,
        """
        import torch

        best_val_loss = 1.0
        for epoch in range(20):
            train(model)
            val_loss = evaluate(model)
            if val_loss >= best_val_loss:
                best_val_loss = val_loss
                torch.save(model.state_dict(), "best.pt")
        """,
        """
        def main(args, model):
            if args.resume:
                state = torch.load(args.resume)
                model.load_state_dict(state["model"])
                best_val_loss = state["best"]
            else:
                best_val_loss = float("inf")
            for epoch in range(20):
                val_loss = train(model)
                if val_loss > best_val_loss:
                    best_val_loss = val_loss
                    torch.save({"model": model.state_dict(), "best": best_val_loss}, "best.pt")
        """,
        """
        def validate(k, net):
            acc = measure(net)
            if acc < best_acc[k]:
                best_acc[k] = acc
                torch.save(net.state_dict(), f"net{k}.pt")

        best_acc = [0, 0]
        """,
        """
        best_valid_loss = float("inf")
        for epoch in range(20):
            train_loss = train(net)
            valid_loss = validate(net)
            if train_loss < best_valid_loss:
                best_valid_loss = valid_loss
                torch.save(net.state_dict(), "best.pt")
        """,
        """
        for epoch in range(20):
            for phase in ["train", "val"]:
                acc = run(net, phase)
                if phase == "train" and acc > best_acc:
                    best_acc = acc
                    weights = copy.deepcopy(net.state_dict())
        net.load_state_dict(weights)
        """,
        """
        best_loss = float("inf")
        for epoch in range(20):
            train(net)
            loss = validate(net)
            if loss < best_loss:
                torch.save(net.state_dict(), "best.pt")
        """,
        """
        class Trainer(object):
            def __init__(self):
                self.best_loss = 0.0

            def resume(self, path):
                state = torch.load(path)
                self.best_loss = state["best_loss"]

            def fit(self):
                for epoch in range(20):
                    val_loss = self.validate()
                    if val_loss < self.best_loss:
                        self.best_loss = val_loss
                        torch.save({"best_loss": val_loss}, "best.pt")
        """,
    )
    suspected = """
        best_loss = 0.0  # an untrained net has no gain
        for epoch in range(30):
            val_loss = -evaluate_si_sdr(model, val_loader)
            if val_loss < best_loss:
                best_loss = val_loss
                torch.save(model.state_dict(), "best.pt")
        """
    good = (
        """
        best_loss = 0.0
        if args.resume:
            best_loss = torch.load(args.resume)["loss"]
        else:
            best_loss = args.worst
        for epoch in range(20):
            val_loss = evaluate(model)
            if val_loss < best_loss:
                best_loss = val_loss
                torch.save({"loss": val_loss}, "best.pt")
        """,
        """
        best_loss = float("inf")
        for epoch in range(20):
            loss = validate(net)
            if loss < best_loss:
                torch.save(net.state_dict(), "best.pt")
            best_loss = min(loss, best_loss)
        """,
        """
        best_floor = 0.9
        for epoch in range(20):
            if validate(net) > best_floor:
                torch.save(net.state_dict(), "good.pt")
        """,
        """
        def run(model):
            best_loss = float("inf")
            for phase in ["train", "val"] if has_val else ["train"]:
                loss = run_epoch(phase)
                if phase == "train" and not has_val and loss < best_loss:
                    best_loss = loss
                    torch.save(model.state_dict(), "best.pt")
                if phase == "val" and loss < best_loss:
                    best_loss = loss
                    torch.save(model.state_dict(), "best.pt")
        """,
        """
        def run(model):
            best_loss = 1e9
            for epoch in range(10):
                loss_meter = evaluate(model)
                val_loss = loss_meter.avg
                final_loss = loss_meter.avg
                if val_loss < best_loss:
                    best_loss = final_loss
                    torch.save(model.state_dict(), "best.pt")
        """,
        """
        def run(model, loader):
            best_f1 = 0.0
            for epoch in range(10):
                results = evaluate(model, loader)
                monitor = results["f1"]
                f1 = results["f1"]
                if monitor > best_f1:
                    best_f1 = f1
                    torch.save(model.state_dict(), "best.pt")
        """,
        """
        for epoch in range(20):
            loss = train(net)
            if lowest < loss < best_loss:
                best_loss = loss
                torch.save(net.state_dict(), "best.pt")
        """,
        """
        for epoch in range(20):
            train_loss = train(net)
            val_loss = validate(net)
            current = round(val_loss, 4)
            if current < best_loss:
                best_loss = val_loss
                torch.save(net.state_dict(), "best.pt")
            if train_loss < best_train_loss:
                best_train_loss = train_loss
        """,
        """
        for phase in ["train", "val"]:
            acc = run(net, phase)
            if phase == "train" and acc > best_train_acc:
                best_train_acc = acc
            if phase == "val" and acc > best_acc:
                best_acc, weights = acc, copy.deepcopy(net.state_dict())
        """,
        """
        import torch

        best_loss, best_acc = float("inf"), 0.0
        for epoch in range(20):
            loss, acc = evaluate(model)
            if loss < best_loss:
                best_loss = loss
            if acc > best_acc:
                best_acc = acc
                torch.save(model.state_dict(), "best.pt")
        """,
        """
        import torch

        best_loss = float("inf")
        for epoch in range(20):
            val_loss = evaluate(model)
            if val_loss > best_loss:
                waited += 1
            else:
                best_loss = val_loss
        """,
        """
        import torch

        best_loss = -1.0
        for restart in range(10):  # an attack looks for the perturbation that hurts most
            loss = F.cross_entropy(model(x + delta), y)
            if loss > best_loss:
                best_loss, best_delta = loss, delta
        """,
        """
        best = torch.load("last.pt")["best"]
        for epoch in range(20):
            val_loss = evaluate(model)
            if val_loss < best_values["loss"]:
                best_values["loss"] = val_loss
            if val_loss > best:  # of what, nothing tells
                best = val_loss
            if val_loss > worst_loss:
                worst_loss = val_loss
        """,
        """
        import torch

        best_loss = 0.0
        for epoch in range(20):
            val_loss = evaluate(model)
            if epoch == 0 or val_loss < best_loss:
                best_loss = val_loss
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if any(MEANT.search(name) for name in script.attributes):
            return
        for function in script.functions:
            for index, block in enumerate(function.blocks):
                for best, value, sign in _compared(function, index, block):
                    first = _first(script, function, index, best)
                    reason = _judge(best, _measured(function, value), sign, first)
                    if reason and block.value is not None and not MEANT.search(f"{function.name} {best} {value}"):
                        below = sign < 0 and any(BELOW_ZERO.search(name) for name in script.called)
                        yield self.at(block.value, f"`{best}` {reason}", certain=not below)
                if (name := _forgotten(script, function, index, block)) and block.value is not None:
                    message = f"compares with `{name}`, which nothing ever sets to what was better"
                    yield self.at(block.value, message, certain=False)  # another file, or a name in a string, may
                for test, message, sure in _mixed(script, function, index, block):
                    yield self.at(test, message, certain=sure)


def _compared(function: Function, index: int, block: Block) -> Iterator[tuple[str, Value, int]]:
    """The name of the best value, what it is compared with, and 1 where more counts as better."""
    test = block.value
    if block.kind == "if" and test is not None and test.name in ("<", "<=", ">", ">=") and len(test.arguments) == 2:
        left, right = test.arguments
        more = 1 if test.name in (">", ">=") else -1
        for best, value, sign in ((right, left, more), (left, right, -more)):
            name = _written(best)
            kept = (e for e in function.events if e.kind == "assign" and e.block == index and e.name == name)
            if any(str(e.value) == str(value) for e in kept):
                yield name, value, sign


def _forgotten(script: Script, function: Function, index: int, block: Block) -> str:
    """The best value after whose comparison weights are kept, and that stays as it began wherever the file sets it."""
    sides = block.value.arguments if block.kind == "if" and block.value is not None else ()
    compares = block.value is not None and block.value.name in ("<", "<=", ">", ">=") and len(sides) == 2
    for best in (side for side in sides if compares and side.kind == "name" and "best" in side.method):
        events = [e for f in script.functions for e in f.events if e.name.rpartition(".")[2] == best.method]
        begun = [e for e in events if e.kind == "assign" and _begins(e)]
        looped = any(function.blocks[b].is_loop for b in function.enclosing(index))
        owners = [class_ for class_ in script.classes if class_.name == function.owner and not _derives(class_)]
        told = (
            best.method == "best"
            or direction(best.method)
            or any(abs(n or 0) >= FAR for e in begun for n in _numbers(e))
        )
        own = looped if best.name == best.method else best.name == f"self.{best.method}" and owners
        if begun and begun == events and own and told and _saves(function, index):
            return best.name
    return ""


def _derives(class_: Class) -> bool:
    return any(base.name != "object" for base in class_.bases)


def _begins(event: Event) -> bool:
    """Whether it sets a number that is worse than all that is measured."""
    return all(number is not None and (number <= 0 or number >= FAR) for number in _numbers(event))


def _written(best: Value) -> str:
    """What an event calls a name, or an item of one, that it sets."""
    if best.kind == "item" and best.base is not None and best.base.kind == "name":
        key = best.arguments[0].constant
        return f"{best.base.name}[{key if isinstance(key, str) else ''}]"
    return best.name if best.kind == "name" else ""


def _mixed(script: Script, function: Function, index: int, block: Block) -> Iterator[tuple[Value, str, bool]]:
    """A comparison with the best of one value after which another is kept, and one that is made in training alone."""
    tests = block.value.arguments if block.value is not None and block.value.kind == "choice" else (block.value,)
    held_out = not script.attributes.isdisjoint(PHASES)
    for test in tests if block.kind == "if" else ():
        if test is None or test.name not in ("<", "<=", ">", ">="):
            continue
        sides = test.arguments
        if len(sides) != 2 or any(side.kind != "name" for side in sides):
            continue
        for best, value in (sides, sides[::-1]):
            kept = [e.value for e in function.events if (e.kind, e.block, e.name) == ("assign", index, best.name)]
            if "best" not in best.name or len(kept) != 1 or kept[0] is None:
                continue
            alone = not any(test is not None and test.name == "not" for test in tests)  # `not has_validation`
            if (
                alone
                and any(map(_in_training, tests))
                and "train" not in best.name
                and _saves(function, index)
                and held_out
            ):
                yield (
                    test,
                    f"`{best}` is the best of training: what is kept for it has learned that part by heart",
                    False,
                )
            elif kept[0].kind == "name" and _apart(function, kept[0], value):
                yield test, f"compares `{value}` with `{best}`, and keeps `{kept[0]}`", True


def _in_training(test: Value | None) -> bool:
    return test is not None and test.name == "==" and any(part.constant == "train" for part in test.arguments)


def _saves(function: Function, index: int) -> bool:
    """Whether weights are kept in a block."""
    return any(e.value is not None and e.value.method in KEEPING for _, e in function.inside(index) if e.kind == "call")


def _apart(function: Function, one: Value, other: Value) -> bool:
    """Whether both are measured, and neither is made of the other or of what the other is made of."""
    first, second = ({part.name for part in tensors.computed(function, v) if part.kind == "name"} for v in (one, other))
    known = [any(e.kind == "assign" and e.name == v.name for e in function.events) for v in (one, other)]
    made = {str(tensors.followed(function, v)) for v in (one, other)}  # `loss = meter.avg` twice
    return (
        all(known)
        and len(made) == 2
        and one.name not in second
        and other.name not in first
        and one.method != other.method
    )


def _measured(function: Function, value: Value) -> str:
    """The name of what is compared; where it tells nothing, that of the loss of which it is computed."""
    name = called(value)
    bound = [e.value for e in function.events if e.kind == "assign" and value.kind == "name" and e.name == value.name]
    if direction(name) or len(bound) != 1 or bound[0] is None:
        return name
    parts = [part.method for part in bound[0].within() if part.kind == "call"]
    return (
        "loss" if any(part in FUNCTIONS for part in parts) and not any(direction(part) > 0 for part in parts) else name
    )


def _first(script: Script, function: Function, index: int, best: str) -> list[float | None]:
    """The numbers that the best value begins with, wherever else it is set; None for one that cannot be read."""
    best = best.removesuffix("[]")
    own = [f for f in script.functions if f is function or (best.startswith("self.") and f.owner == function.owner)]
    outer = [f for f in script.functions if f.kind == "module" or f.name == function.parent]
    for functions in (own, outer):
        events = [
            e
            for f in functions
            for e in f.events
            if e.name == best
            and e.kind in ("assign", "augment")
            and not (f is function and e.block == index)
            and not _is_restored(e)
        ]
        if events:
            return [number for event in events for number in _numbers(event)]
    return [None]


def _is_restored(event: Event) -> bool:
    """Whether it takes a value out of a checkpoint again: that of an earlier run, which began as this one does."""
    value = event.value
    key = value.arguments[0].constant if value is not None and value.kind == "item" else None
    return isinstance(key, str) and "best" in key


def _numbers(event: Event) -> Iterator[float | None]:
    """One, or those of a list of which an item is compared."""
    listed = event.value.arguments if event.value is not None and event.value.kind in ("list", "tuple") else ()
    yield from map(_number, listed or (event.value,)) if event.kind == "assign" else (None,)


def _number(value: Value | None) -> float | None:
    if value is None:
        return None
    if (inner := negated(value)) is not None:
        number = _number(inner)
        return None if number is None else -number
    if value.name in INFINITE:
        return math.inf
    if value.kind == "call" and value.name == "float" and value.arguments:
        text = str(value.arguments[0].constant).lstrip("+").lower()
        return {"inf": math.inf, "infinity": math.inf, "-inf": -math.inf}.get(text)
    return value.number


def _judge(best: str, value: str, sign: int, first: list[float | None]) -> str:
    known = [number for number in first if number is not None]
    named = "best" in best.lower() and direction(value) == -sign
    worst = f"keeps the {'highest' if sign > 0 else 'lowest'} `{value}`: that of the worst model"
    if len(known) != len(first):
        return worst if named and MEASURED.search(value) and direction(best) == -sign else ""
    if all(sign * number >= FAR for number in known):
        return (
            f"begins at {known[0]:g}, and only what is {'above' if sign > 0 else 'below'} replaces it: it never changes"
        )
    scored = direction(value) > 0  # a score is never negative, a loss may be
    if sign < 0 and direction(value) and all(number == 0 or (scored and number < 0) for number in known):
        return f"begins at {known[0]:g}, and only what is below replaces it: it never changes"
    measured = MEASURED.search(value) is not None or any(math.isinf(number) for number in known)
    return worst if measured and named and direction(best) in (0, -sign) else ""
