"""ML131."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core import record
from modellint.core.diagnostic import Fix
from modellint.core.edit import argument, remove, rename, replace
from modellint.core.pattern import pattern
from modellint.source.code import Block, Function, Value
from modellint.source.gradient import NO_GRADIENT

REMOVED = {
    "torch.eig": "torch.linalg.eig", "torch.symeig": "torch.linalg.eigh", "torch.lstsq": "torch.linalg.lstsq",
    "torch.solve": "torch.linalg.solve", "torch.gesv": "torch.linalg.solve", "torch.potrf": "torch.linalg.cholesky",
    "torch.matrix_rank": "torch.linalg.matrix_rank", "torch.fft": "torch.fft.fft", "torch.ifft": "torch.fft.ifft",
    "torch.rfft": "torch.fft.rfft", "torch.irfft": "torch.fft.irfft",
}  # fmt: skip
# A function of autograd whose `forward` has a `self`
FUNCTION = pattern(rb"Function\):(?:(?!\nclass )(?s:.)){,3000}?def forward\(self")
RENAMED = pattern(
    r"torch\.nn\.(utils\.(clip_grad\.)?clip_grad_norm"
    r"|init\.(uniform|normal|constant|eye|dirac|orthogonal|sparse|(xavier|kaiming)_(uniform|normal)))"
)
LOSS = pattern(r"torch\.nn\.(functional\.\w*(loss|cross_entropy|kl_div)\w*|\w+Loss)")
METHODS = ("masked_fill", "masked_fill_", "Variable")  # of which a use is gone
CRITERION = pattern(r"criterion|loss|cost", re.IGNORECASE)
REDUCTION = {
    ("size_average", True): "mean", ("size_average", False): "sum", ("reduce", False): "none", ("reduce", True): "mean",
}  # fmt: skip


class RemovedApi(SourceRule):
    """A part of PyTorch is used that later releases took away, emptied or renamed.

    Why: an index into a loss, which has no dimensions since 0.4, and functions that are gone stop the program, often
        only after the first epoch; `volatile=True` is ignored, and an evaluation that relied on it builds graphs.
    Fix: `loss.item()`, `with torch.no_grad():`, `next(iterator)`, `reduction="sum"`, the function's present name.
    Ignore: in code for a release that still has it; what only has another name today is a note.
    Reported: https://github.com/chaoyuaw/pytorch-vcii/pull/5, https://github.com/AMLab-Amsterdam/L0_regularization/issues/4
    """

    code, severity, certain, topic = "ML131", Severity.WARNING, True, "structure"
    words = (
        ".data[0]", "volatile=", "volatile =", "size_average=", "size_average =", ("Loss(", "reduce="), ("loss(", "reduce="),
        "clip_grad_norm(",
        "init.uniform(", "init.normal(", "init.constant(", "init.eye(", "init.dirac(", "init.orthogonal(", "init.sparse(",
        "xavier_uniform(", "xavier_normal(", "kaiming_uniform(", "kaiming_normal(", ".next()", "byte()",
        ("lr_scheduler", "verbose="), "torch.stft(", ("def forward(self", "Function):", FUNCTION),
        *(f"{name}(" for name in REMOVED),
    )  # fmt: skip
    bad = (
        """
        for x, y in loader:
            loss = criterion(model(x), y)
            loss.backward()
            total += loss.data[0]
        """,
        """
        real, fake = discriminator(x), discriminator(generator(z))
        difference = torch.mean(real - fake)
        real_loss = torch.mean(torch.abs(real - x))
        measure = (real_loss + torch.abs(difference)).data[0]
        """,
        """
        from torch.utils.data import DataLoader

        batches = iter(DataLoader(test_set))
        images, labels = batches.next()
        """,
        """
        import torch.nn.functional as F
        error = F.mse_loss(model(x), y, size_average=False)
        torch.nn.utils.clip_grad_norm(model.parameters(), 0.25)
        """,
        """
        class Binarize(torch.autograd.Function):
            def forward(self, x):
                return x.sign()

            def backward(self, gradient):
                return gradient
        """,
        """
        from torch.autograd import Variable
        output = model(Variable(images, volatile=True))
        values, vectors = torch.symeig(covariance, eigenvectors=True)
        spectrum = torch.stft(wave, 512)
        """,
        """
        energies = scores.masked_fill(mask.byte(), float("-inf"))
        """,
    )
    fixed = (
        """
        for x, y in loader:
            loss = criterion(model(x), y)
            loss.backward()
            total += loss.item()
        """,
        None,
        """
        from torch.utils.data import DataLoader

        batches = iter(DataLoader(test_set))
        images, labels = next(batches)
        """,
        """
        import torch.nn.functional as F
        error = F.mse_loss(model(x), y, reduction="sum")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        """,
        None,
        None,
        """
        energies = scores.masked_fill(mask.bool(), float("-inf"))
        """,
    )
    suspected = """
    from torch.autograd import Function

    class Dice(Function):
        def forward(self, input, target):
            return 2 * torch.dot(input.view(-1), target.view(-1)) / (input.sum() + target.sum())

    score = Dice().forward(prediction, mask)
    """
    good = (
        """
        def spectrum(x):
            if "torch.fft" not in sys.modules:
                return torch.rfft(x, signal_ndim=1)
            return torch.fft.rfft(x)
        """,
        """
        from torch.autograd import Variable

        def update(images):
            return model(Variable(images, volatile=False))

        def evaluate(images):
            with torch.no_grad():
                return model(Variable(images, volatile=True))
        """,
        """
        import torch

        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            if int(torch.__version__[0]) > 0:
                total += loss.item()
            else:  # for PyTorch 0.3
                total += loss.data[0]
        """,
        """
        first = dataset.data[0]
        word = batch.data[0]
        prediction = model(x).data[0]
        losses = criterion(model(x), y)
        losses.backward(weights)
        print(losses.data[0])
        """,
        """
        losses = criterion(model(x), y)  # without reduction, perhaps
        widths = boxes.mean(1)
        print(losses.data[0], (losses + 1).data[0], (widths - 0.5).data[0])
        """,
        """
        class Prefetcher:
            def __init__(self, loader):
                self.loader = iter(loader)

            def next(self):
                return next(self.loader)

        batch = Prefetcher(loader).next()
        """,
        """
        class Binarize(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.sign()
        """,
        """
        def cross_entropy2d(input, target, size_average=True):
            return F.cross_entropy(input, target, reduction="mean" if size_average else "sum")

        loss = cross_entropy2d(model(x), y, size_average=False)
        """,
        """
        from torch.nn import init
        init.normal_(layer.weight)
        spectrum = torch.stft(wave, 512, return_complex=True)
        transformed = torch.fft.fft(x)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        turned_off = not script.attributes.isdisjoint(NO_GRADIENT)  # it may be so for what the caller does
        indexes = "data" in script.attributes
        for function in script.functions:
            if any(self._in(function, turned_off, indexes)):  # what is asked for which version costs more
                yield from self._in(_of_today(function), turned_off, indexes)
        if "next" in script.called and not any(f.name.endswith(".next") for f in script.functions):
            yield from self._next(script)
        yield from self._functions(script)

    def _in(self, function: Function, turned_off: bool, indexes: bool) -> Iterator[Diagnostic]:
        for call in function.calls:
            if call.name.startswith("torch.") or call.method in METHODS:
                yield from self._call(call, function, turned_off)
        if indexes:
            yield from self._indexed(function)

    def _call(self, call: Value, function: Function, turned_off: bool) -> Iterator[Diagnostic]:
        if call.name in REMOVED:
            name = REMOVED[call.name]
            yield self.at(call, f"calls `{call.name}`, which is gone; `{name}` takes its place", fix=f"call `{name}`.")
        elif RENAMED.fullmatch(call.name):
            name = f"{call.method}_"
            yield self.at(call, f"calls `{call.method}`, now `{name}`", severity=Severity.NOTE, fix=f"call `{name}`.")
        elif call.method in ("masked_fill", "masked_fill_") and call.arguments and call.arguments[0].method == "byte":
            message = "masks with a `byte()` tensor, where only a `bool()` one is taken"
            yield self.at(call, message, fix="write `bool()`.")
        yield from self._given(call, function, turned_off)

    def _given(self, call: Value, function: Function, turned_off: bool) -> Iterator[Diagnostic]:
        """Arguments that are gone, and one that is now asked for."""
        given = dict(call.keywords)
        if (
            call.name == "torch.stft"
            and len(call.arguments) < 10
            and "return_complex" not in given
            and not call.unpacks
        ):
            message = "calls `torch.stft` without `return_complex`, which it now asks for"
            fix = "give `return_complex=True`, and `torch.view_as_real` what needs two numbers."
            yield self.at(call, message, fix=fix)
        if call.method == "Variable" and "volatile" in given and _is_missed(function, given["volatile"]):
            message = "sets `volatile`, which no longer does anything: the graph is built"
            fix = "compute it under `with torch.no_grad():`."
            yield self.at(given["volatile"], message, certain=not turned_off, fix=fix)
        if LOSS.fullmatch(call.name) and given.keys() & {"size_average", "reduce"}:
            message = "sets `size_average` or `reduce`, now `reduction`"
            yield self.at(call, message, severity=Severity.NOTE, fix='give `reduction="mean"`, `"sum"` or `"none"`.')
        if call.name.startswith("torch.optim.lr_scheduler.") and "verbose" in given:
            message = f"gives {call.method} a `verbose`, which recent releases do not take"
            yield self.at(given["verbose"], message, certain=False, fix="print `scheduler.get_last_lr()`.")

    def _indexed(self, function: Function) -> Iterator[Diagnostic]:
        """Losses, which have no dimensions, indexed as vectors."""
        values = (event.value for event in function.events if event.value is not None)
        items = {id(item): item for value in values for item in value.within() if _is_first(item)}
        if not items:
            return
        started = {str(c.receiver) for c in function.calls if c.method == "backward" and not c.arguments}
        scalars = {e.name for e in function.events if e.name in started and e.value is not None and _reduces(e.value)}
        numbers = set(_numbers(function))
        for item in items.values():
            if _is_scalar(item.base, started | numbers):
                sure = _tensor(item) in scalars | numbers or _tensor(item) not in started
                message = f"takes the first item of `{_tensor(item)}`, which has no dimensions"
                yield self.at(item, message, certain=sure, fix=f"write `{_item(item)}`.")

    def _next(self, script: Script) -> Iterator[Diagnostic]:
        """The method `next`, which a loader's iterator had in Python 2 and lost."""
        assigned = [e for f in script.functions for e in f.events if e.kind == "assign" and e.value is not None]
        made = {e.name: e.value for e in assigned if e.value is not None}
        for call in script.calls:
            receiver = call.base or made.get(call.name.rpartition(".")[0])
            if call.method == "next" and not call.arguments and receiver is not None and receiver.name == "iter":
                loader = next((made[a.name].method for a in receiver.arguments if a.name in made), "")
                message = "calls the `next` method of an iterator, which it does not have"
                if loader == "DataLoader" or "loader" in str(receiver).lower():
                    sure = loader == "DataLoader" or "DataLoader(" in str(receiver)
                    yield self.at(call, message, certain=sure, fix=f"call `next({call.receiver})`.")

    def _functions(self, script: Script) -> Iterator[Diagnostic]:
        legacy = {c.name for c in script.classes if any(base.name == "torch.autograd.Function" for base in c.bases)}
        for function in script.functions:
            method = function.name.rpartition(".")[2] == "forward" and function.owner in legacy
            if method and not any(d.name in ("staticmethod", "classmethod") for d in function.decorators):
                message = f"`{function.owner}` has a `forward` that is not static, which autograd rejects"
                fix = "make `forward` and `backward` static methods that take `ctx`, and call `apply`."
                plain = any(c.method == "forward" and c.base and c.base.name == function.owner for c in script.calls)
                yield self.at(function, message, certain=not plain, fix=fix)  # `Dice().forward(x)` is but a method

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Where only a name or a spelling has changed, and a `verbose` that a scheduler no longer takes goes."""
        for function in script.functions:
            for value in function.values:
                if value.location == finding.location and (made := _mended(value)):
                    return made
                if finding.location in (v.location for name, v in value.keywords if name == "verbose"):
                    return Fix((remove(dict(value.keywords)["verbose"]),))
        return None


def _of_today(function: Function) -> Function:
    """The function without what a test of some version, or of what there is, decides about."""
    old = {at for at, block in enumerate(function.blocks) if block.kind in ("if", "else") and _asks_version(block)}
    events = (
        tuple(e for e in function.events if old.isdisjoint(function.enclosing(e.block))) if old else function.events
    )
    return function if len(events) == len(function.events) else record.replace(function, events=events)


def _asks_version(block: Block) -> bool:
    parts = block.value.within() if block.value is not None else ()
    return any("version" in part.name.lower() or part.name in ("sys.modules", "hasattr") for part in parts)


def _is_missed(function: Function, volatile: Value) -> bool:
    """Whether it may be asked that no graph is built, and nothing in the function sees to it."""
    contexts = (block.value for block in function.blocks if block.kind == "with" and block.value is not None)
    off = any(context.method in NO_GRADIENT for context in (*contexts, *function.decorators))
    return volatile.constant is not False and not off


def _mended(found: Value) -> Fix | None:
    if _is_first(found):
        return Fix((replace(found, _item(found)),)) if _tensor(found).replace(".", "").isidentifier() else None
    if found.method in ("masked_fill", "masked_fill_") and found.arguments and found.arguments[0].method == "byte":
        return Fix((rename(found.arguments[0], "bool"),))
    if found.method == "next":
        return Fix((replace(found, "next({receiver})"),))
    if RENAMED.fullmatch(found.name):
        return Fix((rename(found, f"{found.method}_"),))
    old = [(name, v) for name, v in found.keywords if name in ("size_average", "reduce")]
    reduction = REDUCTION.get((old[0][0], bool(old[0][1].constant))) if len(old) == 1 else None
    if reduction and isinstance(old[0][1].constant, bool):
        return Fix((argument(old[0][1], "reduction", f'"{reduction}"'),))
    return None


def _is_first(item: Value) -> bool:
    base = item.base
    named = base is not None and base.kind in ("name", "attribute") and base.method == "data"
    return item.kind == "item" and named and item.arguments[0].constant == 0


def _is_scalar(data: Value | None, scalars: set[str]) -> bool:
    """Of `.data`: of a loss from which backward() starts, of a mean, sum or loss over all, or of sums of such."""
    if data is None or data.base is None:
        return data is not None and data.name.removesuffix(".data") in scalars
    return _is_number_of(data.base, scalars)


def _is_number_of(value: Value, numbers: set[str]) -> bool:
    if value.kind == "operation" and value.name in ("+", "-", "*", "/"):
        return all(_is_number_of(part, numbers) for part in value.arguments)
    if value.kind == "call" and value.name == "torch.abs":
        return all(_is_number_of(part, numbers) for part in value.arguments)
    return value.name in numbers if value.kind == "name" else value.kind == "call" and _is_number(value)


def _numbers(function: Function) -> Iterator[str]:
    """The names that are only ever bound to a mean, sum or loss over all."""
    bound: dict[str, list[Value | None]] = {}
    for event in function.events:
        if event.kind in ("assign", "augment"):
            bound.setdefault(event.name, []).append(event.value)
    for name, values in bound.items():
        if name.isidentifier() and all(v is not None and _is_reduced(v) for v in values):
            yield name


def _is_reduced(value: Value) -> bool:
    """What is only called a loss may be one without reduction."""
    plain = value.method in ("mean", "sum") or value.name.startswith("torch.nn.functional.")
    return value.kind == "call" and plain and _is_number(value)


def _reduces(value: Value) -> bool:
    """Whether something in a computation turns a tensor into a number."""
    return any(_is_number(part) for part in value.within() if part.kind == "call")


def _is_number(call: Value) -> bool:
    given = dict(call.keywords)
    if call.method in ("mean", "sum"):
        return len(call.arguments) == int(call.name.startswith("torch.")) and not given
    named = LOSS.fullmatch(call.name) is not None or CRITERION.search(call.name) is not None
    return named and not given.keys() & {"reduce", "reduction"}


def _item(item: Value) -> str:
    name = _tensor(item)
    return f"{name}.item()" if name.replace(".", "").isidentifier() else f"({name}).item()"


def _tensor(item: Value) -> str:
    return str(item.base).removesuffix(".data")
